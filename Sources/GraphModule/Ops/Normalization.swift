import TensorModule

/// Layer and group norm with statistics of the sample itself, then `y = weight * xhat + bias`.
///
/// The forward pass keeps xhat and the reciprocal deviations; the Jacobian of xhat is symmetric,
/// so one kernel serves jvp and vjp. Weight and bias run along rows of `affineColumns`.
package struct Normalization: Operation {
  /// What has one mean and one deviation.
  package enum Groups: Sendable, Equatable {
    /// The last dimensions, so many of them: layer norm.
    case rows(dimensions: Int)
    /// So many groups of the channels, the last dimension: group norm.
    case channels(groups: Int)
  }
  package let groups: Groups
  /// Without, the mean is not taken off: RMS norm.
  package let centered: Bool
  package let epsilon: Double
  /// Of one sample: `items` counts items of one sample.
  private var layout = Kernels.Normalization()
  private var affineColumns = 1
  private var hasWeight = false
  private var hasBias = false
  private var size = 0
  private var makesRows = false

  package init(_ groups: Groups, epsilon: Double, centered: Bool = true) {
    self.groups = groups
    self.epsilon = epsilon
    self.centered = centered
  }

  static let weight = 0
  static let bias = 1

  private var deviations: Int { layout.items * layout.groups }
  private var rows: Int { size / affineColumns }
  private var affine: AffineRows {
    AffineRows(
      rows: rows, columns: affineColumns, weight: hasWeight ? Self.weight : nil,
      bias: hasBias ? Self.bias : nil)
  }

  package mutating func bind(_ operands: Operands) throws(GraphError) -> ValueType {
    try operands.require(inputs: 1...1, parameters: 0...2)
    let x = try operands.real(0)
    let affine: [Int]
    layout.centered = centered ? 1 : 0
    layout.epsilon = epsilon
    switch groups {
    case .rows(let dimensions):
      guard (1...max(1, x.shape.count)).contains(dimensions), dimensions <= x.shape.count else {
        throw operands.mismatch(0, "\(dimensions) dimensions or more")
      }
      affine = Array(x.shape.suffix(dimensions))
      affineColumns = affine.reduce(1, *)
      (layout.items, layout.groups, layout.outer) = (x.count / affineColumns, 1, 1)
      (layout.inner, layout.stride) = (affineColumns, affineColumns)
    case .channels(let groups):
      guard let channels = x.shape.last, groups > 0, channels % groups == 0 else {
        throw GraphError(
          .option("num_groups", expected: "a divisor of num_channels = \(x.shape.last ?? 0)"))
      }
      affine = [channels]
      affineColumns = channels
      (layout.items, layout.groups, layout.outer) = (1, groups, x.count / channels)
      (layout.inner, layout.stride) = (channels / groups, channels)
    }
    (hasWeight, hasBias) = (!operands.parameters.isEmpty, operands.parameters.count > 1)
    for slot in operands.parameters.indices { try operands.requireParameter(slot, affine) }
    size = x.count
    if case .rows(let dimensions) = groups { makesRows = x.shape.count > dimensions }
    operationCount = try checkedCost(8, size)
    return x
  }

  package private(set) var operationCount = 0

  package func initialization(slot: Int, shape: [Int]) -> Initialization {
    .constant(slot == Self.weight ? 1 : 0)
  }

  package func restricted(to rows: [Int]) -> (operation: any Operation, reads: [Bool])? {
    makesRows ? (self, [true]) : nil
  }

  package func needs(_ use: DerivativeUse) -> ForwardNeeds {
    let keepsXhat = use.anyInputActive || use.trains(Self.weight)
    return ForwardNeeds(
      inputs: [false], saved: keepsXhat ? size : 0, savedDoubles: keepsXhat ? deviations : 0)
  }

  package func scratch(samples: Int, directions: Int) -> Int {
    // xhat, or the cotangent of xhat, and the deviations (a double is at most two scalars).
    samples * (size + 2 * deviations + 2)
  }

  private func layout(samples: Int) -> Kernels.Normalization {
    var layout = layout
    layout.items *= samples
    return layout
  }

  package func forward<S: EngineScalar>(_ pass: ForwardPass<S>) {
    let count = pass.samples * size
    let doubles = pass.samples * deviations
    let spare = UnsafeMutableRawPointer(pass.scratch).assumingMemoryBound(to: Double.self)
    let rstd = pass.keepsSaved ? pass.savedDoubles : spare
    let xhat = pass.keepsSaved ? pass.saved : pass.scratch + 2 * doubles
    Kernels.normalize(layout(samples: pass.samples), pass.value(0), xhat, rstd: rstd)
    guard hasWeight else {
      Kernels.copy(xhat, pass.output, count: count)
      return
    }
    let rows = pass.samples * rows
    Kernels.multiplyRows(
      xhat, by: pass.parameter(Self.weight), pass.output, rows: rows, columns: affineColumns)
    if hasBias {
      Kernels.addToRows(
        pass.parameter(Self.bias), pass.output, rows: rows, columns: affineColumns)
    }
  }

  package func jvp<S: EngineScalar>(_ pass: TangentPass<S>) {
    let count = pass.samples * size
    let rows = pass.samples * rows
    for r in 0..<pass.directions {
      let output = pass.output + r * count
      var written = false
      if let tangent = pass.tangent(0) {
        Kernels.normalizeDerivative(
          layout(samples: pass.samples), xhat: pass.saved, rstd: pass.savedDoubles,
          tangent + r * count, output, accumulate: false)
        if hasWeight {
          Kernels.multiplyRows(
            output, by: pass.parameter(Self.weight), output, rows: rows, columns: affineColumns)
        }
        written = true
      }
      affine.addTangents(pass, direction: r, to: output, isWritten: written)
    }
  }

  package func vjp<S: EngineScalar>(_ pass: CotangentPass<S>) {
    guard let (target, accumulate) = pass.inputCotangent(0) else { return }
    let count = pass.samples * size
    for r in 0..<pass.directions {
      var cotangent = pass.cotangent(direction: r)
      if hasWeight {
        Kernels.multiplyRows(
          cotangent, by: pass.parameter(Self.weight), pass.scratch, rows: pass.samples * rows,
          columns: affineColumns)
        cotangent = UnsafePointer(pass.scratch)
      }
      Kernels.normalizeDerivative(
        layout(samples: pass.samples), xhat: pass.saved, rstd: pass.savedDoubles, cotangent,
        target + r * count, accumulate: accumulate)
    }
  }

  package func addGradient<S: EngineScalar>(
    _ pass: CotangentPass<S>, slot: Int, direction: Int, to out: UnsafeMutablePointer<S>
  ) {
    affine.addGradient(pass, slot: slot, direction: direction, to: out)
  }

  package func addPerSampleGradients<S: EngineScalar>(
    _ pass: CotangentPass<S>, slot: Int, direction: Int, to out: UnsafeMutablePointer<S>,
    stride: Int
  ) {
    affine.addPerSampleGradients(pass, slot: slot, direction: direction, to: out, stride: stride)
  }
}
