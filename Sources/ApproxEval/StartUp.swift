import TensorModule

/// Ends the threads that OpenBLAS starts when it is loaded, and which spin for the first 25
/// milliseconds of a process beside the engine's own.
///
/// For the first line of a program whose only use of OpenBLAS is this library. Nothing else may be
/// multiplying meanwhile.
public func endIdleThreadsOfOpenBLAS() { BLAS.endIdleThreads() }

/// Says what is done where the system has no memory left (`MemoryExhaustion`).
public func setMemoryExhaustionHandler(_ handler: @escaping MemoryExhaustion.Handler) {
  MemoryExhaustion.handler.withLock { $0 = handler }
}
