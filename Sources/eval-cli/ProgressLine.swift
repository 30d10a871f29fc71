import ApproxEval
import Checkpoints
import Foundation

/// Where a run is, in one line: checkpoint, batch, rate and time left.
struct ProgressLine {
  var plan: RunPlan
  /// Batches that an earlier run had finished.
  var resumed: Int
  var finished: Int
  /// Since this run began.
  var seconds: Double
  /// The number of the batch in work.
  var next: Int?

  /// For a file: `run/epoch-03.bin, batch 12; 345 of 600 batches, 5.1 batches/s, 0:50 left`.
  var text: String {
    [place, count].filter { !$0.isEmpty }.joined(separator: "; ") + rate
  }

  /// For a terminal of this width: with a bar, and with the file's name alone.
  func text(width: Int) -> String {
    let numbers = count + rate
    let name = step.map { URL(fileURLWithPath: path($0)).lastPathComponent } ?? ""
    let rest = width - numbers.count - 1
    let places = step.map { step in
      [
        plan.checkpoints.count > 1
          ? "\(name) (\(step.checkpoint + 1)/\(plan.checkpoints.count)) batch \(step.batch)  "
          : "\(name) batch \(step.batch)  ",
        "\(name)  ",
      ]
    }
    // The least bar that says something has ten cells; the place comes before it, the name alone
    // before that.
    let place = (places ?? []).first { $0.count + 13 <= rest } ?? ""
    let cells = min(rest - place.count - 3, 30)
    let line = place + (cells >= 10 ? bar(cells) + " " : "") + numbers
    return String(line.prefix(max(width - 1, 0)))
  }

  // MARK: - Parts

  private var step: RunPlan.Step? { next.flatMap { plan.step($0) } }

  private func path(_ step: RunPlan.Step) -> String {
    printable(plan.checkpoints[step.checkpoint].description.path)
  }

  private var place: String { step.map { "\(path($0)), batch \($0.batch)" } ?? "" }

  private var count: String {
    "\(grouped(finished)) of \(grouped(plan.count)) batch\(plan.count == 1 ? "" : "es")"
  }

  private var rate: String {
    let done = finished - resumed
    guard done > 0 && seconds > 0 else { return "" }
    let rate = Double(done) / seconds
    let speed =
      rate < 1
      ? String(format: ", %.1f s per batch", 1 / rate) : String(format: ", %.1f batches/s", rate)
    return speed + ", \(Self.time(Double(plan.count - finished) / rate)) left"
  }

  private func bar(_ cells: Int) -> String {
    let full = plan.count > 0 ? cells * finished / plan.count : cells
    return "[" + String(repeating: "=", count: full)
      + String(repeating: " ", count: cells - full) + "]"
  }

  /// `1:02:03`, `2:03`, `0:03`
  private static func time(_ seconds: Double) -> String {
    let whole = Int(min(seconds, 1e9).rounded(.up))
    let (hours, minutes) = (whole / 3600, whole / 60 % 60)
    return hours > 0
      ? String(format: "%d:%02d:%02d", hours, minutes, whole % 60)
      : String(format: "%d:%02d", minutes, whole % 60)
  }
}
