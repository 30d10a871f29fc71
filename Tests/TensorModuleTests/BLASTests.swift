import Dispatch
import Synchronization
import TensorModule
import Testing

@Suite struct BLASTests {
  /// The text is part of a run's identity, and OpenBLAS writes it into memory that all threads share.
  @Test func theDescriptionIsTheSameForAllThreads() {
    let found = Mutex<Set<String>>([])
    DispatchQueue.concurrentPerform(iterations: 1000) { _ in
      let text = BLAS.buildDescription
      found.withLock { _ = $0.insert(text) }
    }
    #expect(found.withLock { $0.count } == 1)
    #expect(BLAS.buildDescription.ranges(of: "MAX_THREADS").count <= 1)
  }
}
