import FoundationEssentials
import Testing

// The payloads were made and checked with zlib 1.2.13 through Python, each without the tail of its last flush.

/// What another implementation compressed, and what it stands for.
struct DeflateVector: Sendable, CustomTestStringConvertible {
    let name: String
    let compressed: [UInt8]
    let plain: [UInt8]
    var testDescription: String { self.name }

    init(_ name: String, _ plain: [UInt8], _ base64: String) {
        self.name = name
        self.plain = plain
        self.compressed = Array(Data(base64Encoded: base64, options: .ignoreUnknownCharacters) ?? Data())
    }

    /// Text that compresses well, with characters of three bytes.
    static func lines(_ count: Int) -> [UInt8] {
        Array((0..<count).map { "line \($0): the quick brown fox, \($0 * $0) and 水" }.joined(separator: "\n").utf8)
    }

    /// Bytes that don't compress at all.
    static func noise(_ count: Int) -> [UInt8] {
        var state: UInt32 = 1
        return (0..<count).map { _ in
            state = state &* 1_664_525 &+ 1_013_904_223
            return UInt8(state >> 24)
        }
    }
}

extension DeflateVector {
    static let all: [DeflateVector] = [
        DeflateVector(
            "window bits 9",
            lines(60),
            """
            dM+7TQRADIThnCq2AALba3ttuuEpEKc7gUBQFgE1UQciINg5Tf7p9/jwdLwfcjXeHu/Hy/vT7fO4eT19HMfD6fNyyLg+3o2f
            r++Lwx9TwnRnRpjvbBLWO3N2NHcXxFnsLomb0FvsC9hXxCW828SV7k6FPSwCUpk0bBqTDit1MpnwtzqTnSCDSLMAmUwGNheT
            hTuLyGkOsplM3aUJkS4CUpl0bBqTBTttEhnWIJ3JlSCDyLQAmUyeNReR62xnMVkOsoks111OIbJFQCqTiU0jUsVg6JyUVgN1
            RjUSaDBqFkCT0sbqYnQmbi1G3R1oMxqmO3VhNEWAKqWFVWN0JWz1yWh5A3VGeybQINTEAmgyqorVxagJbi1GpzjQZtRFdxrC
            aIgAVUbzrGqMLtwak9GSBuqMtibQIHSKBdBkVCdWF6PmuLUYnelAm1Ev/ae/AA==
            """
        ),
        DeflateVector(
            "window bits 10",
            lines(60),
            """
            dNLLTQQxEIThO1FMABzcL49NNjwWsWK1KxAIwuJATMSBuCBNjf57qd2ur0/H82FpN8vb02F5eT/ePy93r5eP8/J4+bxe2nJ7
            flh+vr6vTn8xg5htYw6x3MYCYnMbS3q0b3MFOa9trkMuZN5Kv5D9BuS6fHdCbkh7RhjWlAM9XGcSiaVsaaRiXf5tCDOlSUMa
            tTHC8dKZxOND9ySgcP07EUXXCyejVCMno0ydSUY5ZE8no3L5u5NRrdKnk1FXIyejvptJRutuTzJad38no6F9BhlNNQoymuoe
            ZGRNjykIyZpeaJCSmZ59EJO5OgU5mU+dSlAWXXclKcvUBojKyqXXJCvripWEZX3oVNRau+yaqDVSGkjUmiG9Jml5U60kLTfT
            qaTl3nRX0vJo2gBpeTbptUjLS7WKtLzvppKWr7prkZYPbaBIy6f2WqQVO60irTC9gSKtcL2sIq0Ivdcircjx3+svAA==
            """
        ),
        DeflateVector(
            "window bits 11",
            lines(60),
            """
            dNXLTcRAEEXRPVF0ACy6fm2bbPgMYsTIIxAIwmJBTMTBsEJ+1t0/tavrdJVPx/XQ+k17ezq0l/fj/XO7ez1/rO3x/Hndertd
            H9rP1/fV6S9mELNtzCGW21hAbNnGkj46trmCnNc2NyAXct5Et5D6ZsgNue4CuVm6Z4RhXTnQw/VMIrGUKo1UbMi9DWEW6aQh
            jdoY4XjpmcTjs9ZJQOF6dyKKoS+cjFKNnIwy9Uwcm1nqdDIql7s7GdUk/XQyGmrkZDR2Z5LRtKuTjKbd3XGMtJ9BRosaBRkt
            6h44R10fU+AgdX2hgZNk+uyDmGw3S0FO5jqgQVAWOvVBUpdNoh0gKivdT4k7byhW4tIbukkTtSZdzolas+775L2nv5DExddV
            K3Hzmf7oElefd62VtDy6doC0PLv0tUjLS7WKtHzsTiUtn7TWIi2ftQNFWr5oX4u0YqdVpBWmb6BI6/L70VrxTxX6Xgt/Vfk/
            Bb8A
            """
        ),
        DeflateVector(
            "window bits 12",
            lines(60),
            """
            dNbNTcRADIbhO1VMARzGf5OEbvhZxIpVViAQlMWBmqiD5YTyRe/dmnj82J6cjuuh9Zv29nRoL+/H++d293r+WNvj+fO69Xa7
            PrSfr++r01+YQZhtwxzCchsWELZsw5I+OrZxBXFe27gBcSHnTXQLyW+GuCHXXSBuluoZYVhXDvRwPZNILCVLIxUbcm9DmEUq
            aUijNkY4Xnom8fiseRJQuN6diGJoh5NRqpGTUaaeiWMzS55ORuVydyejmqSeTkZDjZyMxu5MMpp2eZLRtLs7jpHWM8hoUaMg
            o0XdA+eoazMFDlLXDg2cJNO2D2Ky3SwFOZnrgAZBWejUB0ldNolWgKisdD8l7ryhWIlLb+gmTdSadDknas2675P3nj4hiYuv
            q1bi5jN96BJXn3fNlbQ8ulaAtDy71LVIy0u1irR87E4lLZ801yItn7UCRVq+7H4gSCt2WoU/EaY9UKR1eX40V3ypQvu18KnK
            /yn4BQ==
            """
        ),
        DeflateVector(
            "window bits 13",
            lines(60),
            """
            dNbNTcRADIbhO1VMARzGf5OEbvhZxIpVViAQlMWBmqiD5YTyRe/dmnj82J6cjuuh9Zv29nRoL+/H++d293r+WNvj+fO69Xa7
            PrSfr++r01+YQZhtwxzCchsWELZsw5I+OrZxBXFe27gBcSHnTXQLyW+GuCHXXSBuluoZYVhXDvRwPZNILCVLIxUbcm9DmEUq
            aUijNkY4Xnom8fiseRJQuN6diGJoh5NRqpGTUaaeiWMzS55ORuVydyejmqSeTkZDjZyMxu5MMpp2eZLRtLs7jpHWM8hoUaMg
            o0XdA+eoazMFDlLXDg2cJNO2D2Ky3SwFOZnrgAZBWejUB0ldNolWgKisdD8l7ryhWIlLb+gmTdSadDknas2675P3nj4hiYuv
            q1bi5jN96BJXn3fNlbQ8ulaAtDy71LVIy0u1irR87E4lLZ801yItn7UCRVq+7H4gSCt2WoU/EaY9UKR1eX40V3ypQvu18KnK
            /yn4BQ==
            """
        ),
        DeflateVector(
            "window bits 14",
            lines(60),
            """
            dNbNTcRADIbhO1VMARzGf5OEbvhZxIpVViAQlMWBmqiD5YTyRe/dmnj82J6cjuuh9Zv29nRoL+/H++d293r+WNvj+fO69Xa7
            PrSfr++r01+YQZhtwxzCchsWELZsw5I+OrZxBXFe27gBcSHnTXQLyW+GuCHXXSBuluoZYVhXDvRwPZNILCVLIxUbcm9DmEUq
            aUijNkY4Xnom8fiseRJQuN6diGJoh5NRqpGTUaaeiWMzS55ORuVydyejmqSeTkZDjZyMxu5MMpp2eZLRtLs7jpHWM8hoUaMg
            o0XdA+eoazMFDlLXDg2cJNO2D2Ky3SwFOZnrgAZBWejUB0ldNolWgKisdD8l7ryhWIlLb+gmTdSadDknas2675P3nj4hiYuv
            q1bi5jN96BJXn3fNlbQ8ulaAtDy71LVIy0u1irR87E4lLZ801yItn7UCRVq+7H4gSCt2WoU/EaY9UKR1eX40V3ypQvu18KnK
            /yn4BQ==
            """
        ),
        DeflateVector(
            "window bits 15",
            lines(60),
            """
            dNbNTcRADIbhO1VMARzGf5OEbvhZxIpVViAQlMWBmqiD5YTyRe/dmnj82J6cjuuh9Zv29nRoL+/H++d293r+WNvj+fO69Xa7
            PrSfr++r01+YQZhtwxzCchsWELZsw5I+OrZxBXFe27gBcSHnTXQLyW+GuCHXXSBuluoZYVhXDvRwPZNILCVLIxUbcm9DmEUq
            aUijNkY4Xnom8fiseRJQuN6diGJoh5NRqpGTUaaeiWMzS55ORuVydyejmqSeTkZDjZyMxu5MMpp2eZLRtLs7jpHWM8hoUaMg
            o0XdA+eoazMFDlLXDg2cJNO2D2Ky3SwFOZnrgAZBWejUB0ldNolWgKisdD8l7ryhWIlLb+gmTdSadDknas2675P3nj4hiYuv
            q1bi5jN96BJXn3fNlbQ8ulaAtDy71LVIy0u1irR87E4lLZ801yItn7UCRVq+7H4gSCt2WoU/EaY9UKR1eX40V3ypQvu18KnK
            /yn4BQ==
            """
        ),
        DeflateVector(
            "stored blocks",
            lines(6),
            """
            AOsAFP9saW5lIDA6IHRoZSBxdWljayBicm93biBmb3gsIDAgYW5kIOawtApsaW5lIDE6IHRoZSBxdWljayBicm93biBmb3gs
            IDEgYW5kIOawtApsaW5lIDI6IHRoZSBxdWljayBicm93biBmb3gsIDQgYW5kIOawtApsaW5lIDM6IHRoZSBxdWljayBicm93
            biBmb3gsIDkgYW5kIOawtApsaW5lIDQ6IHRoZSBxdWljayBicm93biBmb3gsIDE2IGFuZCDmsLQKbGluZSA1OiB0aGUgcXVp
            Y2sgYnJvd24gZm94LCAyNSBhbmQg5rC0AA==
            """
        ),
        DeflateVector(
            "stored noise",
            noise(300),
            """
            ACwB0/48XoG0DF7GjgSjQGyX1jz73FOuiDcaElEhtZVhQ8DuLVX7Y4x3/uC29fknX68pfiyX31QE8zvUBmILWCHPaCWcy+4C
            B//NdGSr97t9aiXmv6KUiQ1rkPJWxkbp8G5uWgWpv3F/10gAWakUSzc+xYCdk/t6TPy4oHOZHvDTAjGPBI95dHEErvO8gc5Z
            o/dMx5WUIwaQ1hQK9TlSS2/AVD0asayFfGIDsxXdppx7tD2uWWKdwcz8zE7YGaYJEjC+TqrXatRmnw+XUXofABznY5mATn/z
            FkbJfXq/3nGrMJoi/lxNQRg7YOzCKMKjiVnJY4M/YZmrYrign8bH+87yV41AL29ino5D8x3LHNdoJMJYwq1iYefPDa9u3C9V
            svqp1YPUb4Iqws7fe129JQEA
            """
        ),
        DeflateVector(
            "fixed codes",
            lines(8),
            """
            ysnMS1UwsFIoyUhVKCzNTM5WSCrKL89TSMuv0FEwUEjMS1F4tmELVw5ImSEOZYaoyoxwKDNBVWaMQ5klqjITXJaaoaozxaHO
            yBRVnRkOdcZo5pnj8gXcfQAA
            """
        ),
        DeflateVector(
            "Huffman only",
            lines(8),
            """
            BMHLjQMhEAXA+0TxAuBg79pemWz4NKIFasQIBGFxICbi2KrMQnhotEionV2CvcsQhDIVHjDicda+MgvhqdEioXZ2CfYuQxDK
            VHjCiMdZ+8oshB+NFgm1s0uwdxmCUKbCC0Y8ztpXZiH8arRIqJ1dgr3LEIQyFb4w4nHWvjIL4aXRIqF2dgn2LkMQylR4fmDE
            46x9ZRbCW6NFQu3sEuxdhiCUqfDzhhGPs/aVWQgfjRYJtbNLsHcZglCmwu8HRjzO2ldmIfxptEionV2CvcsQhDIVXl8Y8Thr
            /wM=
            """
        ),
        DeflateVector(
            "run lengths",
            lines(8),
            """
            BMHLjQMhEAXA+0TxAuBg79pemWz4NKIFasQIBGFxICbi2KrMQnhotEionV2CvcsQhDIVHjDicda+MgvhqdEioXZ2CfYuQxDK
            VHjCiMdZ+8oshB+NFgm1s0uwdxmCUKbCC0Y8ztpXZiH8arRIqJ1dgr3LEIQyFb4w4nHWvjIL4aXRIqF2dgn2LkMQylR4fmDE
            46x9ZRbCW6NFQu3sEuxdhiCUqfDzhhGPs/aVWQgfjRYJtbNLsHcZglCmwu8HRjzO2ldmIfxptEionV2CvcsQhDIVXl8Y8Thr
            /wM=
            """
        ),
        DeflateVector(
            "level 1",
            lines(30),
            """
            dNHLDcJADEXRPVW4ABZjj+cTuuETRESUCASCslhQE3UgVmhe9PZXlu0zDlMvYSO3Uy+X+7A/y+46PyY5zs+1BNlOB/m83qvx
            lynJtM2MZN5mkWRdmznJNLddIp2ltsukizCvkM5hv0q6DOd2pKvwPWUYGpCDehjOZCTqsKUyFc1wt1KYDj6plAZtlOFYwpmM
            xyruyYCi4e2MKGb4pzEjRyNjRu44kxl5hT2NGSWD240ZpQL/NGaU0ciYUV7MZEZlsSczKovbmVH9//ML
            """
        ),
        DeflateVector(
            "level 9",
            lines(30),
            """
            dJPLDQIxDETvVOECOMTOn274LGLFalcgEJTFgZqoA3FCmWjuT86MnzON8yBuI7fTIJf7uD/L7ro8Zjkuz7U42c4H+bzeq+mH
            KcG0xYxgocU8wWqLBfZoarlIOIstlwjnYV5mLSBfIVyCupVwBbanTIY61EF9GM5kSjRASvV03dBbqZgKm1SqBt1oohJxJtNj
            BXMyQd6we6WngRfOHAV0ZMxRCDiTfpsCOY05igbdjTmKGfZpzFFCR8YcpW4mc5S7nMxR7rrTb/Tf5xc=
            """
        ),
        DeflateVector(
            "memory level 1",
            lines(60),
            """
            dJPLDQIxDETvVOECOMSOExK64bOIFausQCC2LA7URB1ojxlp7k8Tj58zjW2QsJfndZD7azzd5PiY300u87KVIId2lt/nu5lW
            TAmmPWYE8x6LBKs95uzR3HOJcJZ6LhMuQt6OtYD5CuEy1K2EK7A9ZTI0oA7qwzCTKVGHKZVZ0Qy9lYqpsEmlatCNMjmWMJPp
            sYJzMkHRsDtTFDNeOHPk6MiYI3fMpN/mT1edHAEMwkAQTEnoADv/xOz3UJMAJdTs8mDONKNJ3D3NaA72mWa0aZRmtK8zzehc
            c5rRue6uMeI+y4xeGpUZvXQvzVHwMZUGKfhCS5O0+OzLmNaVpTKnlQxoGdQqpr5M6m8SbsCo1rCfWjtvE6u19DabtFXrsJxb
            tR72fXvv8QtpLb6gVmvzLX50rdWXwVlNKyu4AdPKDux1TCuHWmNaua9TTSsPZ51PuGLLyAI9BExxxZaRJUYDAldsGWPElinO
            RoQhehowxRVbwOoH3a04aypj9PRqirOqMkHkAgAA
            """
        ),
        DeflateVector(
            "a sync flush inside",
            lines(20),
            """
            ysnMS1UwsFIoyUhVKCzNTM5WSCrKL89TSMuv0FEwUEjMS1F4tmELVw5ImSEOZYaoyozQlQEAAAD//4IqM0FVZoxDmSWqMhNc
            lpqhqjPFoc7IFFWdGQ51xmjmmWOqAwAAAP//dNFBCsAwDAPBL1VOa5z/fyyHQA8LezdG0twWyDdy16i75W6wXgwjDznUo/jT
            SPIiZUwljd5RmI0lozS0ieHUx5/GU8OcBrSK3Y1o9b/nAQ==
            """
        ),
        DeflateVector(
            "a full flush inside",
            lines(20),
            """
            ysnMS1UwsFIoyUhVKCzNTM5WSCrKL89TSMuv0FEwUEjMS1F4tmELVw5ImSEOZYaoyozQlQEAAAD//3TRQQoCMQyF4b2nyAFc
            NGkbW2+jzoiD0kFRnGO58Eyew4Ug9MHbf4Qkf5PjvKwlya4N8nm9V5epjRK3cj+Ncn1Mh7Psb/Oz/VjtWSJMvXeZOMu9c+Ii
            zNsQl2C/QpzDuZW4or3TwA4OAaQyaTjTmEywpbIq6nC30jAVPqk0DbZRFscyzmR5rOCeLFA0vJ0liv7/5xc=
            """
        ),
        DeflateVector(
            "a partial flush inside",
            lines(20),
            """
            ysnMS1UwsFIoyUhVKCzNTM5WSCrKL89TSMuv0FEwUEjMS1F4tmELVw5ImSEOZYaoyozQlQEEoIsMbgCGQRi4Ug0JIfsv1k9V
            CUv3Pxmb+7A1sQTsTmzR0ZrcBi725Aq4tLxDK6xfA1c29wLX9j2RDD2uA32EZ5ISLWspsqKy3UIx1z4pVONuRHJieybpifae
            JCjDt5OirP+fLwA=
            """
        ),
        DeflateVector(
            "a block boundary inside",
            lines(20),
            """
            ysnMS1UwsFIoyUhVKCzNTM5WSCrKL89TSMuv0FEwUEjMS1F4tmELVw5ImSEOZYaoyozQlQHoIoMbgGEQBq5UQ0LI/ov1U1XC
            0v1PxuY+bE0sAbsTW3S0JreBiz25Ai4t79AK69fAlc29wLV9TyRDj+tAH+GZpETLWoqsqGy3UMy1TwrVuBuRnNieSXqivScJ
            yvDtpCjr/+cL
            """
        ),
        DeflateVector(
            "BFINAL and a byte",
            lines(10),
            """
            y8nMS1UwsFIoyUhVKCzNTM5WSCrKL89TSMuv0FEwUEjMS1F4tmELVw5ImSEOZYaoyoxwKDNBVWaMQ5klqjITXJaaoaozxaHO
            yBRVnRkOdcZo5pnj8gWa+yxwqDND864lDnUW8NADAAA=
            """
        ),
        DeflateVector(
            "BFINAL alone",
            lines(10),
            """
            y8nMS1UwsFIoyUhVKCzNTM5WSCrKL89TSMuv0FEwUEjMS1F4tmELVw5ImSEOZYaoyoxwKDNBVWaMQ5klqjITXJaaoaozxaHO
            yBRVnRkOdcZo5pnj8gWa+yxwqDND864lDnUW8NADAA==
            """
        ),
        DeflateVector(
            "BFINAL, fixed, and a byte",
            lines(3),
            """
            y8nMS1UwsFIoyUhVKCzNTM5WSCrKL89TSMuv0FEwUEjMS1F4tmELVw5ImSEOZYaoyoxwKDOBKQMAAA==
            """
        ),
        DeflateVector(
            "BFINAL inside",
            lines(12),
            """
            y8nMS1UwsFIoyUhVKCzNTM5WSCrKL89TSMuv0FEwUEjMS1F4tmELVw5ImSEOZYYwZQDiysnMS1UwslIoyUhVKCzNTM5WSCrK
            L89TSMuv0FEwUUjMS1F4tmELF1iZMQ5llqjKTHAoMzRDVWeKQ52RKao6MxzqjNHMM8flCzT3WeBQZ4bmXUsc6iwMUdUZGuDy
            sIEBmkpDXCqN4GYCAA==
            """
        ),
        DeflateVector(
            "two BFINAL",
            lines(12),
            """
            y8nMS1UwsFIoyUhVKCzNTM5WSCrKL89TSMuv0FEwUEjMS1F4tmELVw5ImSEOZYYwZQDjysnMS1UwslIoyUhVKCzNTM5WSCrK
            L89TSMuv0FEwUUjMS1F4tmELF1iZMQ5llqjKTHAoMzRDUQcAUzC1UijJSFUoLM1MzlZIKsovz1NIy6/QUTAyVUjMS1F4tmEL
            V05mXqqCGQ51xmao6sxxqDOxRFVngUOdmQmqOksc6iwMUdUZGuBQaGhggKbSEJdKI7iZAAA=
            """
        ),
        DeflateVector(
            "an empty block",
            lines(0),
            """
            AA==
            """
        ),
        DeflateVector(
            "many empty blocks",
            lines(0),
            """
            AAAA//8AAAD//wAAAP//AAAA//8AAAD//wAAAP//AAAA//8AAAD//wAAAP//AAAA//8AAAD//wAAAP//AAAA//8AAAD//wAA
            AP//AAAA//8AAAD//wAAAP//AAAA//8AAAD//wAAAP//AAAA//8AAAD//wAAAP//AAAA//8AAAD//wAAAP//AAAA//8AAAD/
            /wAAAP//AAAA//8AAAD//wAAAP//AAAA//8AAAD//wAAAP//AAAA//8AAAD//wAAAP//AAAA//8AAAD//wAAAP//AAAA//8A
            AAD//wAAAP//AAAA//8AAAD//wAAAP//AAAA//8AAAD//wA=
            """
        ),
        DeflateVector(
            "a final empty block",
            lines(0),
            """
            AQ==
            """
        ),
        DeflateVector(
            "nothing",
            lines(0),
            """

            """
        ),
    ]

    /// Messages of one connection whose client keeps its context, by the size of its window.
    static let conversations: [(windowBits: Int, messages: [DeflateVector])] = [
        (
            9,
            [
                DeflateVector(
                    "message 0",
                    lines(3),
                    """
                    ysnMS1UwsFIoyUhVKCzNTM5WSCrKL89TSMuv0FEwUEjMS1F4tmELVw5ImSEOZYaoyoxwKDOBKQMA
                    """
                ),
                DeflateVector(
                    "message 1",
                    lines(4),
                    """
                    yhkAOyHKjHEos4QpAwA=
                    """
                ),
                DeflateVector(
                    "message 2",
                    lines(5),
                    """
                    GsROgygzwWWpGUwdAA==
                    """
                ),
                DeflateVector(
                    "message 3",
                    lines(0),
                    """
                    AA==
                    """
                ),
                DeflateVector(
                    "message 4",
                    lines(60),
                    """
                    3M+7DVxRDAPRlvS/Uv+NOTAcPC6mAecHA/I/uPDXNbjorxtwKb1HL2Tfghu5e+DWv86NDpuJdJKhzSBZstKT5MhvL5I3Ihtk
                    RIsckq3NR3J154LMKJFHcvwrw0CWmUgnWdoMkis7I0F2nMgi+UZkg5xokUPyp/lAvp+dS3JL5IHc8q9MA3lmIp3kaDNAuoUM
                    zUS6J7SIeo/QJhrRQgfpafURzdGtS7SqhB7RDv/SMqJjJtSRrlaD6BvZWkl064QW0csR2kDDooUOUXetPqJhunWJppXQI1rm
                    X9pGtM2EOtH5qQbRp1s7ia6d0CJ6PkIbaFq00CHqqdVHNEq3LtGcEnpEa/0f/QM=
                    """
                ),
                DeflateVector(
                    "message 5",
                    lines(2),
                    """
                    Aqs0wKHQANVAQxzK4IYBAA==
                    """
                ),
            ]
        ),
        (
            12,
            [
                DeflateVector(
                    "message 0",
                    lines(3),
                    """
                    ysnMS1UwsFIoyUhVKCzNTM5WSCrKL89TSMuv0FEwUEjMS1F4tmELVw5ImSEOZYaoyoxwKDOBKQMA
                    """
                ),
                DeflateVector(
                    "message 1",
                    lines(4),
                    """
                    yhkAOyHKjHEos4QpAwA=
                    """
                ),
                DeflateVector(
                    "message 2",
                    lines(5),
                    """
                    GsROgygzwWWpGUwdAA==
                    """
                ),
                DeflateVector(
                    "message 3",
                    lines(0),
                    """
                    AA==
                    """
                ),
                DeflateVector(
                    "message 4",
                    lines(60),
                    """
                    3NZLbgQhDADRK+EfdN//YhkpiyiF6gKzR5bthw1fUMLvuZFzOf/PbTlXiHesCuT3yLmNcl8596B7YRixyKEeyZhGEo0sw1Ri
                    o+5QmBedDKWhTRhODmMaTz7M04AqWbsR1eYNN6OmUZpRN2Pq2DzIM81oErWnGc1BP9OMNo3SjPYV04zOlacZnat2HSP2s8zo
                    pVGZ0Uv30jlavEylg7R4Q0snKXjty5jimqUyp0gOaBlUFKe+TOqzSdgBo4rhfmrdeZtYrUtvc5O2ah0u51ath/u+fe/xCWld
                    fItarZsv+NC1rr5czNW0shY7YFrZC30d08qh1phW7iuqaeVhrmNa+bADY1r5Xh8I06pLa/QTEbwDY1qf54e56ktVvK+jT1X/
                    TcEPAA==
                    """
                ),
                DeflateVector(
                    "message 5",
                    lines(2),
                    """
                    omrTDgA=
                    """
                ),
            ]
        ),
        (
            15,
            [
                DeflateVector(
                    "message 0",
                    lines(3),
                    """
                    ysnMS1UwsFIoyUhVKCzNTM5WSCrKL89TSMuv0FEwUEjMS1F4tmELVw5ImSEOZYaoyoxwKDOBKQMA
                    """
                ),
                DeflateVector(
                    "message 1",
                    lines(4),
                    """
                    yhkAOyHKjHEos4QpAwA=
                    """
                ),
                DeflateVector(
                    "message 2",
                    lines(5),
                    """
                    GsROgygzwWWpGUwdAA==
                    """
                ),
                DeflateVector(
                    "message 3",
                    lines(0),
                    """
                    AA==
                    """
                ),
                DeflateVector(
                    "message 4",
                    lines(60),
                    """
                    3NZLbgQhDADRK+EfdN//YhkpiyiF6gKzR5bthw1fUMLvuZFzOf/PbTlXiHesCuT3yLmNcl8596B7YRixyKEeyZhGEo0sw1Ri
                    o+5QmBedDKWhTRhODmMaTz7M04AqWbsR1eYNN6OmUZpRN2Pq2DzIM81oErWnGc1BP9OMNo3SjPYV04zOlacZnat2HSP2s8zo
                    pVGZ0Uv30jlavEylg7R4Q0snKXjty5jimqUyp0gOaBlUFKe+TOqzSdgBo4rhfmrdeZtYrUtvc5O2ah0u51ath/u+fe/xCWld
                    fItarZsv+NC1rr5czNW0shY7YFrZC30d08qh1phW7iuqaeVhrmNa+bADY1r5Xh8I06pLa/QTEbwDY1qf54e56ktVvK+jT1X/
                    TcEPAA==
                    """
                ),
                DeflateVector(
                    "message 5",
                    lines(2),
                    """
                    omrTDgA=
                    """
                ),
            ]
        ),
    ]
}
