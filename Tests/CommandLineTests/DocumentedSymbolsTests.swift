import Foundation
import Testing

extension CommandLineTests {
  /// Whoever uses the library finds a sentence on everything that it offers.
  @Suite struct DocumentedSymbolsTests {
    private struct Graph: Decodable {
      struct Symbol: Decodable {
        struct Identifier: Decodable { let precise: String }
        struct Location: Decodable {
          struct Position: Decodable { let line: Int }
          let uri: String
          let position: Position
        }
        struct Comment: Decodable {}
        let identifier: Identifier
        let pathComponents: [String]
        let location: Location?
        let docComment: Comment?
      }
      struct Relationship: Decodable {
        struct Origin: Decodable {}
        let source: String
        let sourceOrigin: Origin?
      }
      let symbols: [Symbol]
      let relationships: [Relationship]
    }

    /// What makes good a protocol's requirement has the protocol's words; what the compiler adds stands
    /// in no file.
    @Test func everyPublicSymbolHasAComment() throws {
      let root = URL(fileURLWithPath: #filePath)
        .deletingLastPathComponent().deletingLastPathComponent().deletingLastPathComponent()
      let folder = try TemporaryFolder()
      let result = try Command.start(
        [],
        shell: "'\(root.path)/scripts/symbols.sh' \"$(dirname \"$0\")\" '\(folder.path("graphs"))'"
      ).result()
      #expect(result.status == 0, "\(result.error)")
      let files = try FileManager.default.contentsOfDirectory(atPath: folder.path("graphs"))
      #expect(files.contains("ApproxEval.symbols.json"))
      for file in files {
        let data = try Data(contentsOf: folder.url.appendingPathComponent("graphs/\(file)"))
        let graph = try JSONDecoder().decode(Graph.self, from: data)
        let told = Set(graph.relationships.filter { $0.sourceOrigin != nil }.map(\.source))
        for symbol in graph.symbols where symbol.docComment == nil {
          guard let place = symbol.location, !told.contains(symbol.identifier.precise) else {
            continue
          }
          Issue.record(
            """
            \(place.uri):\(place.position.line + 1): \
            \(symbol.pathComponents.joined(separator: ".")) has no comment
            """)
        }
      }
    }
  }
}
