import Foundation

/// A results folder with numbers that can be checked by hand; it lives as long as the value.
///
/// Three checkpoints (epochs 0, 1, 2) of two batches; ef, ief, sf and kfac at dampings 1e-7 and
/// 1e-3. gamma(sgd) is 1 in batch 0 and 4 in batch 1, so that the mean of ratios and the ratio of
/// means differ.
public final class ResultsDraft {
  public let path: String

  /// `checkpoints` are names; each has its position as its epoch unless `hasEpochs` is false.
  public init(
    checkpoints: [String] = ["run/a.bin", "run/b.bin", "run/c.bin"], hasEpochs: Bool = true
  ) throws {
    path =
      FileManager.default.temporaryDirectory.appendingPathComponent(
        "results-" + UUID().uuidString
      ).path
    try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true)
    var scores = [Self.scoreColumns]
    var batches = [Self.batchColumns]
    var iterates = ["checkpoint,batch,iteration,relative_residual,gamma,seconds"]
    var layers = [Self.layerColumns]
    for (stage, name) in checkpoints.enumerated() {
      let checkpoint = Self.quoted(name)
      let epoch = hasEpochs ? String(stage) : ""
      for batch in 0..<2 {
        let place = "\(checkpoint),\(epoch),,\(batch)"
        let gamma = batch == 0 ? 1.0 : 4.0
        for (method, damping, ratio) in Self.ratios(stage: stage, batch: batch) {
          scores.append(
            "\(place),8,\(method),\(damping),\(damping),\(gamma * ratio),\(ratio),,"
              + "\(0.01 / ratio / ratio),\(0.008 / ratio / ratio),1,1,1,,,0.5,")
          for layer in ["0.weight", "0.bias"] {
            layers.append(
              "\(place),\(method),\(damping),\(damping),\(layer),tensor,8,\(gamma * ratio),\(ratio)"
            )
          }
        }
        // Batch 1 of the last checkpoint did not converge.
        let stop = stage == 2 && batch == 1 ? "iterations" : "tolerance"
        batches.append(
          "\(place),8,16,1,\(batch == 0 ? 10 : 1000 * (stage + 1)),2,\(gamma / 20),\(gamma / 10),3,"
            + "1e-7,\(stop),0.5,2,\(stop == "tolerance" ? "converged" : "not-converged")")
        for iteration in 1...3 {
          iterates.append(
            "\(checkpoint),\(batch),\(iteration),\(pow(10, Double(-iteration))),"
              + "\(gamma / 20 * (1 + pow(0.5, Double(iteration)))),0.1")
        }
      }
    }
    try write("scores.csv", scores)
    try write("batches.csv", batches)
    try write("cg.csv", iterates)
    try write("layers.csv", layers)
    try write(
      "run.json",
      ["{\"version\": \"0.1.0\", \"seed\": 7, \"precision\": \"float64\", \"start\": \"today\","]
        + ["\"files\": [{\"path\": \"a<b>\", \"bytes\": 3}], \"notes\": [\"a & b\"]}"])
  }

  deinit { try? FileManager.default.removeItem(atPath: path) }

  static let scoreColumns =
    "checkpoint,epoch,step,batch,samples,method,damping,lambda,gamma,gamma_rel_sgd,"
    + "gamma_rel_reference,efficiency,efficiency_low,fisher_quadratic,gradient_dot,update_norm,"
    + "cosine_gradient,cosine_reference,seconds,mc_samples"
  static let batchColumns =
    "checkpoint,epoch,step,batch,samples,loss,gradient_norm,gradient_norm_ratio,"
    + "logit_gradient_norm_ratio,gamma_bound,reference_gamma,reference_iterations,"
    + "reference_residual,reference_stop,seconds,mean_loss,reference_status"
  static let layerColumns =
    "checkpoint,epoch,step,batch,method,damping,lambda,layer,kind,parameters,gamma,gamma_rel_sgd"

  /// gamma over gamma(sgd); ief at stage 0 and the smallest damping: 0.25 and 0.5.
  static func ratios(
    stage: Int, batch: Int
  ) -> [(method: String, damping: String, ratio: Double)] {
    let late = Double(stage + 1)
    var rows: [(String, String, Double)] = [("sgd", "", 1)]
    for damping in ["1e-7", "1e-3"] {
      let relief = damping == "1e-7" ? 1.0 : 0.5
      rows.append(("ef", damping, (batch == 0 ? 0.5 : 1) * late * relief))
      rows.append(("ief", damping, batch == 0 ? 0.25 : 0.5))
      rows.append(("sf", damping, batch == 0 ? 0.5 : 0.75))
      rows.append(("kfac", damping, batch == 0 ? 0.5 : 0.625))
    }
    rows.append(("ng", "", 0.125))
    return rows
  }

  public func write(_ name: String, _ lines: [String]) throws {
    try Data(lines.map { $0 + "\r\n" }.joined().utf8).write(
      to: URL(fileURLWithPath: path).appendingPathComponent(name))
  }

  public func remove(_ name: String) throws {
    try FileManager.default.removeItem(atPath: path + "/" + name)
  }

  /// Puts the draft in the place of what was read, for a defect.
  public func edit(_ name: String, _ change: (inout String) -> Void) throws {
    let url = URL(fileURLWithPath: path).appendingPathComponent(name)
    var text = try String(contentsOf: url, encoding: .utf8)
    change(&text)
    try Data(text.utf8).write(to: url)
  }

  private static func quoted(_ cell: String) -> String {
    "\"" + cell.replacingOccurrences(of: "\"", with: "\"\"") + "\""
  }
}
