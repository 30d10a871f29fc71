import Checkpoints

/// An option has a value that cannot be meant: what, where, how to fix.
struct UsageError: Error, Equatable, CustomStringConvertible {
  var problem: String
  var option: String
  var advice: String?

  init(_ problem: String, at option: String, _ advice: String? = nil) {
    self.problem = problem
    self.option = option
    self.advice = advice
  }

  var description: String {
    errorText(problem, at: option, [advice].compactMap { $0 })
  }
}
