/// What a tensor `updates.<update>.<parameter>` is for. Both names may have dots: what follows the
/// update's is a parameter of the model, and of several the one with the longest name.
package struct UpdateTensorName {
  package let update: String
  package let parameter: String

  /// - Parameters:
  ///   - name: Without `updates.`
  ///   - parameters: Those that there are; for a name with none of them the update's has no dot.
  package init?(_ name: Substring, parameters: ParameterNames) {
    let dots = name.indices.filter { name[$0] == "." }
    func parameter(after dot: Substring.Index) -> Substring { name[name.index(after: dot)...] }
    let known = dots.first { parameters.contains(parameter(after: $0)) }
    guard let dot = known ?? dots.first, dot > name.startIndex, !parameter(after: dot).isEmpty
    else { return nil }
    update = String(name[..<dot])
    self.parameter = String(parameter(after: dot))
  }
}

/// The names of a model's parameters, looked up without reading what is longer than all of them.
package struct ParameterNames {
  private let names: Set<String>
  private let longest: Int

  package init(_ names: some Sequence<String>) {
    self.names = Set(names)
    longest = self.names.reduce(0) { max($0, $1.utf8.count) }
  }

  package func contains(_ name: Substring) -> Bool {
    name.utf8.count <= longest && names.contains(String(name))
  }
}
