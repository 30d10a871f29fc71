import ApproxEval
import Foundation
import Workloads

/// Runs our side of a task in a process of its own.
struct OurSide {
  /// `eval-cli`
  let command: String
  let threads: Int
  /// This program: tasks that the command does not offer alone run in it, through the library.
  let program: String

  struct Measurement: Codable {
    var seconds: Double
    var peakMemory: Int
  }

  /// Seconds from the start of the process to its end, file reading included; for `grad` and `fvp`
  /// those of the step alone.
  func measure(_ task: ComparedTask, _ model: PreparedModel) throws -> Measurement {
    let child = try ChildProcess(try arguments(task, model))
    let output = try child.requireSuccess("\(model.name) \(task.rawValue)")
    var seconds = child.seconds
    if task.isTimedInside {
      guard let text = output.split(separator: "\n").last, let own = Double(text) else {
        throw ChildProcess.Failure(description: "no number in \"\(output)\"")
      }
      seconds = own
    }
    return Measurement(seconds: seconds, peakMemory: child.peakMemory)
  }

  private func arguments(_ task: ComparedTask, _ model: PreparedModel) throws -> [String] {
    let score = [command, "score"] + model.arguments + ["--threads", String(threads), "--quiet"]
    switch task {
    case .grad, .fvp, .efset:
      var own = [program, "--step", task.rawValue, "--threads", String(threads)]
      own += ["--checkpoint", model.checkpoint, "--batch", String(model.samples)]
      if let adapter = model.adapter { own += ["--adapter", adapter] }
      if let data = model.data { own += ["--data", data] }
      return own
    case .gamma4:
      return score + ["--methods", "update:d1,update:d2,update:d3,update:d4"]
        + (try model.directions()).flatMap { ["--updates", $0] } + ["--reference", "none"]
    case .alg4: return score + ["--damping", "rel:1e-7", "--reference", "none"]
    case .sweep6: return score + ["--damping", "1,1e-1,1e-2,1e-3,1e-4,1e-5", "--reference", "none"]
    case .cg20:
      // Nothing but the limit may end it.
      return score + [
        "--methods", "sgd", "--cg-iterations", "20", "--cg-tolerance", "1e-30", "--cg-gap", "0",
      ]
    }
  }
}

// MARK: - Inside the child

extension OurSide {
  /// Runs a step once, or as often as its time can be told, and prints the seconds.
  static func run(_ task: ComparedTask, _ options: EvaluationOptions, checkpoint: String) throws {
    let probe = try EngineProbe(checkpoint: checkpoint, options: options)
    if task == .efset { return try probe.run(.updates) }
    let clock = ContinuousClock()
    var times: [Double] = []
    repeat {
      let steps: [EngineProbe.Step] = task == .grad ? [.forward, .vjp] : [.fisherVectorProduct]
      let time = try clock.measure { for step in steps { try probe.run(step) } }.components
      times.append(Double(time.seconds) + Double(time.attoseconds) * 1e-18)
    } while times.count < 25 && (times.count < 4 || times.reduce(0, +) < 6)
    // The first warms up.
    print(median(Array(times.dropFirst())))
  }
}
