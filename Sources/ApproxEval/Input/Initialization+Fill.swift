import GraphModule
import TensorModule

extension Initialization {
  /// Writes the numbers of these places of the parameter.
  func fill(_ places: Range<Int>, _ random: NamedRandom, into target: UnsafeMutablePointer<Float>) {
    switch self {
    case .normal(let deviation): random.normal(places, deviation: Float(deviation), into: target)
    case .uniform(let bound): random.uniform(places, bound: Float(bound), into: target)
    case .constant(let value): target.update(repeating: Float(value), count: places.count)
    }
  }
}
