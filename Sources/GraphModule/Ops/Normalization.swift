import TensorModule

/// Layer and group norm with statistics of the sample itself, then `y = weight * xhat + bias`.
///
/// The forward pass keeps xhat and the reciprocal deviations; the Jacobian of xhat is symmetric,
/// so one kernel serves jvp and vjp. Weight and bias run along rows of `affineColumns`.
package struct Normalization: Operation {
  /// Of one sample: `items` counts items of one sample.
  package let layout: Kernels.Normalization
  package let affineColumns: Int
  package let hasWeight: Bool
  package let hasBias: Bool
  package let size: Int

  package init(
    layout: Kernels.Normalization, size: Int, affineColumns: Int, hasWeight: Bool, hasBias: Bool
  ) {
    precondition(hasWeight || !hasBias, "Normalization: a bias needs a weight")
    self.layout = layout
    self.size = size
    self.affineColumns = affineColumns
    self.hasWeight = hasWeight
    self.hasBias = hasBias
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

  package var inputSizes: [Int] { [size] }
  package var outputSize: Int { size }
  package var operationCount: Int { 8 * size }

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
