import Checkpoints
import Foundation
import GraphModule
import TensorModule

/// How the numbers of a parameter begin: as `_init_weights` of Transformers and the layers of PEFT
/// have it, with two departures. ViT's normal numbers are not cut off (Transformers cuts at 2, a
/// hundred standard deviations). LoRA's B is normal with standard deviation 0.02 and not zero: at
/// zero the gradient with respect to A vanishes, and half of the adapter would not be measured.
extension Initialization {
  init(_ spec: ParameterSpec, type: String, _ config: JSONValue) {
    if spec.name.hasSuffix(".lora_A.weight") {
      self = .layer(inputs: spec.shape[1])
    } else if spec.name.hasSuffix(".lora_B.weight") {
      self = .normal(deviation: 0.02)
    } else if spec.name == "prompt_embeddings" {
      self = .normal(deviation: 1)
    } else if spec.name.hasSuffix(".bias") {
      self = .constant(0)
    } else if type == "vit" {
      let isNorm = spec.name.contains("layernorm")
      self =
        isNorm
        ? .constant(1) : .normal(deviation: Self.number(config["initializer_range"], 0.02))
    } else {
      self = Self.t5(spec.name, config)
    }
  }

  /// Mesh TensorFlow's scales: attention without a division by the root of the width.
  private static func t5(_ name: String, _ config: JSONValue) -> Initialization {
    let factor = number(config["initializer_factor"], 1)
    let columns = number(config["d_model"], 512)
    let width = number(config["d_kv"], 64)
    let module = name.split(separator: ".").dropLast().last ?? ""
    switch module {
    case "layer_norm", "final_layer_norm": return .constant(factor)
    case "shared", "lm_head": return .normal(deviation: factor)
    case "q": return .normal(deviation: factor / (columns * width).squareRoot())
    case "o":
      let inner = number(config["num_heads"], 8) * width
      return .normal(deviation: factor / inner.squareRoot())
    case "wo":
      return .normal(deviation: factor / number(config["d_ff"], 2048).squareRoot())
    // k, v, wi, wi_0, wi_1 and the table of relative positions.
    default: return .normal(deviation: factor / columns.squareRoot())
    }
  }

  /// A setting whose type has been checked, or does not matter here.
  private static func number(_ value: JSONValue, _ standard: Double) -> Double {
    (try? value.double()) ?? standard
  }

  /// Writes the numbers of these places of the parameter.
  func fill(_ places: Range<Int>, _ random: NamedRandom, into target: UnsafeMutablePointer<Float>) {
    switch self {
    case .normal(let deviation): random.normal(places, deviation: Float(deviation), into: target)
    case .uniform(let bound): random.uniform(places, bound: Float(bound), into: target)
    case .constant(let value): target.update(repeating: Float(value), count: places.count)
    }
  }
}
