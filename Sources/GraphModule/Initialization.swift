/// How the numbers of a parameter begin.
package enum Initialization: Equatable, Sendable {
  case normal(deviation: Double)
  case uniform(bound: Double)
  case constant(Double)

  /// Kaiming-uniform with a = sqrt(5), as `torch.nn` begins the weight and the bias of a layer with
  /// so many inputs to each output.
  package static func layer(inputs: Int) -> Initialization {
    .uniform(bound: 1 / Double(inputs).squareRoot())
  }
}
