import Foundation
import TestSupport

@testable import Figures

/// A results folder of ratios that a test makes up; gamma(sgd) differs from batch to batch.
struct VerdictDraft {
  struct Method {
    var name: String
    var damping = ""
    var lambda = ""
    var role = "method"
    var draws = ""
    /// Of a stage and a batch; `nil` leaves the row out, NaN the numbers.
    var ratio: (Int, Int) -> Double?

    init(
      _ name: String, damping: String = "", role: String = "method", draws: String = "",
      ratio: @escaping (Int, Int) -> Double?
    ) {
      (self.name, self.damping, self.role, self.draws) = (name, damping, role, draws)
      self.ratio = ratio
    }
  }

  let draft: ResultsDraft
  var path: String { draft.path }
  var results: Results { get throws { try Results(folder: draft.path) } }

  /// - Parameters:
  ///   - hasBaseline: Whether sgd is there; without it no ratios are.
  ///   - error: The estimate of gamma's relative error, and so whether it is marked.
  ///   - data: The samples that batches of 8 come from.
  ///   - isConverged: Whether the reference of a stage and batch is.
  init(
    stages: Int = 3, batches: Int = 10, hasBaseline: Bool = true, error: Double = 1e-9,
    data: Int = 1000, isConverged: (Int, Int) -> Bool = { _, _ in true },
    run: String = "", _ methods: [Method]
  ) throws {
    draft = try ResultsDraft()
    var scores = [
      "checkpoint,epoch,step,batch,method,damping,lambda,gamma,gamma_rel_sgd,efficiency,"
        + "efficiency_low,mc_samples,gamma_error,family,role,marked,run"
    ]
    var rows = [
      "checkpoint,epoch,step,batch,samples,data_samples,mean_loss,gradient_norm_ratio,gamma_bound,"
        + "reference_iterations,reference_residual,reference_stop,reference_converged,"
        + "reference_excess_bound,run"
    ]
    let sgd = Method("sgd", role: "baseline") { _, _ in 1 }
    for stage in 0..<stages {
      for batch in 0..<batches {
        let place = "run/epoch-\(stage).bin,\(stage),,\(batch)"
        for method in (hasBaseline ? [sgd] : []) + methods {
          guard let ratio = method.ratio(stage, batch) else { continue }
          let gamma = ratio * (1 + Double(batch))
          func text(_ value: Double) -> String { value.isNaN ? "" : String(value) }
          scores.append(
            [
              place, Self.quoted(method.name), method.damping, method.damping, text(gamma),
              hasBaseline ? text(ratio) : "", text(0.01 / ratio / ratio),
              text(0.008 / ratio / ratio), method.draws, String(error), Self.quoted(method.name),
              method.role, String(error > 1e-3), run,
            ].joined(separator: ","))
        }
        rows.append(
          "\(place),8,\(data),\(2.0 / Double(stage + 1)),\(10 * (stage + 1)),0.1,5,1e-7,"
            + (isConverged(stage, batch) ? "tolerance,true,0.0005," : "iterations,false,0.25,")
            + run)
      }
    }
    try draft.write("scores.csv", scores)
    try draft.write("batches.csv", rows)
    try draft.remove("cg.csv")
    try draft.remove("layers.csv")
  }

  private static func quoted(_ cell: String) -> String {
    "\"" + cell.replacingOccurrences(of: "\"", with: "\"\"") + "\""
  }

  /// What is said of it.
  var text: VerdictText { get throws { try VerdictText.all(results)[0] } }
}

extension VerdictText {
  func sentence(_ method: String) -> String? { methods.first { $0.name == method }?.sentence }
}
