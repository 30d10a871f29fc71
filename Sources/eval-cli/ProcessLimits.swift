import ApproxEval
import Foundation

/// Where the system has promised more memory than it has, the command ends with one line. Batches that
/// are finished are in the journal.
func endWhereMemoryIsExhausted() {
  setMemoryExhaustionHandler { count in
    Console.log(
      """
      error: the system has no memory left for \(bytes(count, digits: 3))
        at ulimit -v, or other processes
        Free some, or give a smaller --memory, which says beforehand what fits. Finished batches are \
      in the journal: go on with --resume.
      """)
    // Not `exit`: other threads still compute, and must not find their libraries gone.
    _exit(ExitStatus.inputOutput.rawValue)
  }
}
