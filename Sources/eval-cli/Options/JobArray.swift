import ApproxEval

/// The task of a job array that the process is, as batch systems tell it by environment variables.
struct JobArray {
  private let environment: [String: String]

  init(_ environment: [String: String]) { self.environment = environment }

  /// `3/8`, `auto`, `auto/8`.
  func shard(_ text: String) throws(UsageError) -> Shard {
    let parts = text.split(separator: "/", omittingEmptySubsequences: false)
    if parts.count <= 2, parts[0] == "auto" {
      if parts.count == 1 { return try shardOfArray() }
      guard let count = Int(parts[1]), (1...Shard.most).contains(count) else {
        throw wrong(text)
      }
      let task = try task()
      guard let shard = Shard(task, of: count) else {
        throw UsageError(
          "task \(task) is none of 1 to \(count)", at: "--shard \(text)",
          "Number the array from 1: --array=1-\(count).")
      }
      return shard
    }
    guard parts.count == 2, let index = Int(parts[0]), let count = Int(parts[1]),
      let shard = Shard(index, of: count)
    else { throw wrong(text) }
    return shard
  }

  private func wrong(_ text: String) -> UsageError {
    UsageError(
      "\"\(text)\" is no part of a run", at: "--shard",
      "Write 3/8 for the third of eight parts, or auto in a job array.")
  }

  private func number(_ names: [String]) -> Int? {
    names.lazy.compactMap { environment[$0].flatMap { Int($0) } }.first
  }

  private func task() throws(UsageError) -> Int {
    // PBS Professional and OpenPBS, Torque, LSF, which says 0 outside of an array.
    let names = ["SLURM_ARRAY_TASK_ID", "PBS_ARRAY_INDEX", "PBS_ARRAYID", "LSB_JOBINDEX"]
    if let task = number(names), task > 0 || environment["LSB_JOBINDEX"] == nil { return task }
    throw UsageError(
      "this is no task of a job array", at: "--shard auto",
      "None of \(names.joined(separator: ", ")) is set: give the part as i/n.")
  }

  /// With as many parts as the array has tasks.
  private func shardOfArray() throws(UsageError) -> Shard {
    let task = try task()
    let first = number(["SLURM_ARRAY_TASK_MIN"]) ?? 1
    let last = number(["SLURM_ARRAY_TASK_MAX", "LSB_JOBINDEX_END"])
    let count = number(["SLURM_ARRAY_TASK_COUNT"]) ?? last
    guard let count else {
      throw UsageError(
        "the batch system does not tell how many tasks the array has", at: "--shard auto",
        "Give the number: --shard auto/n.")
    }
    // An array of the tasks that were missing has other numbers and another count.
    if let last, last - first + 1 != count {
      throw UsageError(
        "the array has \(count) tasks from \(first) to \(last)", at: "--shard auto",
        "Give the number of parts of the whole run: --shard auto/n.")
    }
    guard let shard = Shard(task - first + 1, of: count) else {
      throw UsageError("task \(task) is none of \(count)", at: "--shard auto")
    }
    return shard
  }
}
