import Synchronization
import TensorModule
import Testing

struct WorkerPoolTests {
  @Test(arguments: [1, 2, 3, 7, 64], [0, 1, 2, 5, 1000])
  func everyTaskRunsOnceAndEveryWorkerRuns(_ threads: Int, _ tasks: Int) {
    let pool = WorkerPool(threads: threads, worthAThread: 0)
    let seen = Mutex((tasks: [Int](repeating: 0, count: tasks), workers: Set<Int>()))
    pool.run(tasks, operations: 1) { task, worker in
      seen.withLock {
        $0.tasks[task] += 1
        $0.workers.insert(worker)
      }
    }
    let (counts, workers) = seen.withLock { $0 }
    #expect(counts.allSatisfy { $0 == 1 })
    #expect(workers == Set(0..<min(threads, tasks)))
    #expect(pool.sharedCalls == (min(threads, tasks) > 1 ? 1 : 0))
  }

  @Test func fewOperationsStayOnTheThreadThatAsks() {
    let pool = WorkerPool(threads: 4)
    let workers = Mutex(Set<Int>())
    let few = WorkerPool.worthAThread.nextDown
    pool.run(8, operations: few) { _, worker in _ = workers.withLock { $0.insert(worker) } }
    #expect(workers.withLock { $0 } == [0])
    #expect(pool.sharedCalls == 0)
    pool.run(8, operations: WorkerPool.worthAThread) { _, worker in
      _ = workers.withLock { $0.insert(worker) }
    }
    #expect(workers.withLock { $0 } == [0, 1, 2, 3])
    #expect(pool.sharedCalls == 1)
  }
}
