/// What is compared: one task on one batch, from nothing, as the peers' scripts define it
/// (peers/README.md).
enum ComparedTask: String, CaseIterable, Codable {
  /// Forward and backward pass: the gradient of the batch, and the unit in which a product is told.
  case grad
  /// One product F v, forward values kept: what one more iteration of conjugate gradients costs.
  case fvp
  /// gamma of four given directions.
  case gamma4
  /// Gram matrices of true and sampled labels, and the SGD, EF, iEF and SF updates at one damping.
  case efset
  /// The same and the four gammas: one batch of Algorithm 4.
  case alg4
  /// SGD, and EF, iEF and SF at six dampings: 19 updates, 19 gammas.
  case sweep6
  /// 20 iterations of Algorithm 5.
  case cg20

  /// The name in the peers' scripts.
  var peerName: String { self == .cg20 ? "cg" : rawValue }

  /// Whether both sides time the step alone, and not a whole process.
  var isTimedInside: Bool { self == .grad || self == .fvp }

  /// Peers that came first, or close to it, on any workload where all were measured; which of
  /// them wins depends on machine and versions.
  func peers(_ workload: String) -> [String] {
    let isSmall = workload == "W1" || workload == "W2"
    switch self {
    case .grad: return ["torch"]
    case .fvp:
      return switch workload {
      case "W1": ["jax", "torchfunc_lin"]
      case "W2": ["torchfunc_lin", "lin_autograd"]
      case "W6", "W7": ["authors", "lin_autograd", "curvlinops"]
      default: ["authors"]
      }
    case .gamma4: return isSmall ? ["torchfunc_vmap", "jax"] : ["authors"]
    case .efset: return workload == "W1" ? ["best"] : ["authors", "best"]
    case .alg4: return isSmall ? ["best_vmap", "best_graph"] : ["best_graph"]
    case .sweep6: return isSmall ? ["best_vmap"] : ["best_graph"]
    case .cg20:
      return switch workload {
      case "W1": ["jax"]
      case "W2": ["jvp_autograd", "lin_autograd"]
      default: ["authors"]
      }
    }
  }
}
