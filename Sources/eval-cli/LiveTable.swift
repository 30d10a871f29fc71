import ApproxEval
import Checkpoints

/// The rows of the checkpoint in work, means over its batches so far, as a terminal shows them above
/// the line that says where the run is.
struct LiveTable {
  let entry: Report.Entry
  /// Its index in the plan.
  let checkpoint: Int
  /// Batches that the checkpoint will have.
  let planned: Int

  /// At most so many lines, of at most so many characters.
  func lines(width: Int, height: Int) -> [String] {
    let table = entry.tableText.split(separator: "\n").map(String.init)
    let done = entry.results.count
    let title =
      "\(printable(entry.description.path)): "
      + (done == 1 ? "1 of" : "mean of \(grouped(done)) of") + " \(grouped(planned)) batches"
    var lines = [title] + table
    if lines.count > height {
      // The title, the head of the table and a row are the least that says something.
      guard height >= 5 else { return [] }
      let left = lines.count - height + 1
      lines = lines.prefix(height - 1) + ["and \(grouped(left)) more rows"]
    }
    return lines.map { String($0.prefix(max(width, 0))) }
  }
}
