import Testing

@testable import RedisIngest

@Suite("Names beside the stream")
struct IngestKeysTests {
    @Test("The stream's name is the hash tag, so that all lie in one slot")
    func tag() {
        let keys = IngestKeys(stream: "sidesocket:publish", prefix: "sidesocket")
        #expect(keys.group == "sidesocket" && keys.stream == "sidesocket:publish")
        #expect(keys.lease == "sidesocket:1:ingest:{sidesocket:publish}:lease")
        #expect(keys.source == "sidesocket:1:ingest:{sidesocket:publish}:source")
        #expect(IngestKeys(stream: "a{b", prefix: "p").lease == "p:1:ingest:{a{b}:lease")
    }

    @Test("A hash tag of the stream itself stays the hash tag")
    func ownTag() {
        #expect(IngestKeys(stream: "a{b}c", prefix: "p").lease == "p:1:ingest:lease:a{b}c")
    }

    @Test("No two streams share a name")
    func unique() {
        let streams = ["b", "{b}", "a{b}", "{b}a", "b}", "{b", "lease:b", "{b}:lease", "source:{b}"]
        let names = streams.flatMap { stream in
            let keys = IngestKeys(stream: stream, prefix: "p")
            return [keys.lease, keys.source]
        }
        #expect(Set(names).count == 2 * streams.count)
    }
}
