import NIOCore
import SidecarCore

/// A connection as it is stored: the length of the connection's record in four bytes, the record, and who the client is;
/// sealed with the cluster's secret as this connection of this node.
struct RegisteredRecord {
    /// The id of the node in front of it, which it is sealed by.
    static func write(_ connection: RegisteredConnection, of node: NodeID, _ seal: ClusterSeal) -> ByteBuffer {
        var plain = ByteBuffer()
        plain.writeInteger(UInt32(clamping: connection.connection.count))
        plain.writeBytes(connection.connection)
        plain.writeBytes(connection.identity)
        return seal.seal(plain, by: node, as: "connection \(connection.id)")
    }

    /// Reads it; nil for anything that this node did not write as this connection.
    static func read(_ stored: ByteBuffer, id: String, of node: NodeID, _ seal: ClusterSeal) -> RegisteredConnection? {
        guard var plain = seal.open(stored, by: node, as: "connection \(id)"),
            let length = plain.readInteger(as: UInt32.self), let connection = plain.readBytes(length: Int(length))
        else { return nil }
        return RegisteredConnection(id: id, connection: connection, identity: Array(plain.readableBytesView))
    }
}
