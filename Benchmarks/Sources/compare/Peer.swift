import Foundation
import Workloads

/// Runs a peer's side of a task: one of the scripts in Benchmarks/peers, in a process of its own.
struct Peer {
  /// A Python that has torch, transformers, peft, jax, curvlinops and backpack.
  let python: String
  /// Folder of run_peers.py.
  let scripts: String
  /// Seconds of timed runs.
  let budget: Double

  struct Measurement: Codable {
    var variant: String
    /// Median of several runs after one of warming up; imports and compiling are not counted.
    var seconds: Double?
    var peakMemory: Int?
    /// GFLOP/s of torch's (or jax's) own products, directly after the task.
    var productRate: Double?
    var versions: String?
    var error: String?
  }

  func measure(_ task: ComparedTask, _ workload: String, variant: String) throws -> Measurement {
    var result = Measurement(variant: variant)
    let child = try ChildProcess(
      [
        python, scripts + "/run_peers.py", "--workload", workload, "--task", task.peerName,
        "--variant", variant, "--budget", String(budget),
      ], environment: environment(variant))
    guard let line = child.output.split(separator: "\n").last,
      let record = try? JSONSerialization.jsonObject(with: Data(line.utf8)) as? [String: Any]
    else {
      result.error = child.errors.split(separator: "\n").last.map(String.init) ?? "no output"
      return result
    }
    result.seconds = record["median_s"] as? Double
    result.error = record["error"] as? String
    result.peakMemory = (record["task_peak_rss_mb"] as? Double).map { Int($0 * 1024 * 1024) }
    result.productRate = record["sgemm_gflops"] as? Double
    result.versions = (record["torch"] ?? record["jax"]) as? String
    return result
  }

  /// What was found to be fastest for them: two threads, tcmalloc and huge pages for torch.
  private func environment(_ variant: String) -> [String: String?] {
    var changes: [String: String?] = [
      "OMP_NUM_THREADS": "2", "MKL_NUM_THREADS": "2", "THP_MEM_ALLOC_ENABLE": "1",
      "TOKENIZERS_PARALLELISM": "false", "HF_HUB_OFFLINE": "1", "PYTHONDONTWRITEBYTECODE": "1",
    ]
    let allocator = "/usr/lib/x86_64-linux-gnu/libtcmalloc_minimal.so.4"
    if !variant.hasPrefix("jax"), FileManager.default.fileExists(atPath: allocator) {
      changes["LD_PRELOAD"] = allocator
      changes["PEER_ALLOC"] = "tcmalloc+thp"
    }
    return changes
  }
}
