import TensorModule

// Which classes lead, and the rows of B that they and what is left of a position have (`LeadingRows`).
extension OutputState {
  /// Of all samples.
  package var scoredPositions: Int { (0..<samples * positions).count(where: isScored) }

  /// The fewest rows that leave out no more than a share of the trace of H, and of w what they cannot
  /// hold; the label is among them.
  ///
  /// - Parameter most: No more rows than so many are wanted.
  /// - Returns: `nil` where it takes more.
  package func leadingRows(leaving share: Double, most: Int = .max) -> LeadingRows? {
    let importance = importanceOfClasses()
    var bins = SizeBins()
    forEachClass { row, c, isTop in if !isTop { bins.add(importance(row, c)) } }
    let threshold = bins.threshold(leaving: share * bins.total)
    var found: [LeadingRows.Position] = []
    var count = 0
    for row in 0..<samples * positions where isScored(row) {
      let top = topClass(row)
      let label = hardLabel(row)
      var position = LeadingRows.Position(row: row, members: [], top: top, hasRest: false)
      for c in 0..<classes where c != top && mass(row, c) > 0 {
        if c == label || SizeBins.bin(importance(row, c)) >= threshold {
          position.members.append(Int32(c))
        } else {
          position.hasRest = true
        }
      }
      count += position.members.count + (position.hasRest ? 1 : 0)
      if count > most { return nil }
      found.append(position)
    }
    return LeadingRows(found, outputs: positions)
  }

  /// With those classes besides whose part of B x, `[N, O C]` in the coordinates of A, the rows do not
  /// see, until no more than a share of its square is left.
  package func extended(
    _ rows: LeadingRows, image: Vector<Double>, leaving share: Double
  ) -> LeadingRows {
    var bins = SizeBins()
    forEachUnseen(rows, image) { _, _, part in bins.add(part * part) }
    let threshold = bins.threshold(leaving: share * bins.total)
    var positions = rows.positions
    var left = [Int](repeating: 0, count: positions.count)
    forEachUnseen(rows, image) { place, c, part in
      if SizeBins.bin(part * part) >= threshold {
        positions[place].members.append(Int32(c))
      } else {
        left[place] += 1
      }
    }
    for place in positions.indices { positions[place].hasRest = left[place] > 0 }
    return LeadingRows(positions, outputs: self.positions)
  }

  /// `|B x|^2` as far as the rows do not see it: what they leave of gamma(x)^2, in units of |w|^2.
  package func unseenSquare(_ rows: LeadingRows, image: Vector<Double>) -> Double {
    var sum = 0.0
    forEachUnseen(rows, image) { _, _, part in sum += part * part }
    return sum
  }

  // MARK: - Rows

  /// Whether the gradient of every sample is a combination of its rows, with the targets for coefficients. Of
  /// labels that are spread over classes, what is left of a position may have a w in other proportions; a label
  /// that the model rules out may have no row.
  package var leadingRowsHoldGradients: Bool {
    if case .centred = gradient { return false }
    return !missesLabels
  }

  /// What `writeLeadingRows` leaves out of each row, and w in the coordinates of the rows.
  package func sizesAndTargets(_ rows: LeadingRows) -> (sizes: [Double], targets: [Double]) {
    var sizes: [Double] = []
    var targets: [Double] = []
    for (place, c) in rows.rows {
      let position = rows.positions[Int(place)]
      let row = position.row
      if c >= 0 {
        sizes.append(mass(row, Int(c)).squareRoot())
        targets.append(
          loss == .crossEntropy
            ? fullRankWeight(row, .one(Int(c)), top: position.top)
            : elementWeight(row, Int(c)))
        continue
      }
      let rest = restOf(position)
      switch loss {
      case .crossEntropy:
        sizes.append(rootOfWeight(row) * rest.mass.squareRoot())
        targets.append(
          fullRankWeight(row, .several(mass: rest.mass, gradient: rest.gradient), top: position.top)
        )
      case .squaredError, .binaryCrossEntropy:
        let gradient = rest.squareOfGradient.squareRoot()
        let target = rest.squareOfWeights.squareRoot()
        sizes.append(target > 0 ? gradient / target : 0)
        targets.append(target)
      }
    }
    return (sizes, targets)
  }

  /// The cotangents of some rows, `[rows, O C]`, each divided by its size.
  ///
  /// For a class i and the most probable one c they are those of the root of full rank,
  /// `(e_i - p) - k (e_c - p)` with `k = sqrt(p_c) / (1 + sqrt(p_c))`, and for what is left the same with
  /// the mean of its e_j in place of e_i.
  package func writeLeadingRows(
    _ rows: LeadingRows, _ wanted: some Collection<Int>, to out: UnsafeMutablePointer<S>
  ) {
    let size = positions * classes
    Kernels.zero(out, count: wanted.count * size)
    for (place, index) in wanted.enumerated() {
      let (number, c) = rows.rows[index]
      let position = rows.positions[Int(number)]
      let row = position.row
      let target = out + place * size + row % positions * classes
      let rest = c < 0 ? restOf(position) : nil
      guard loss == .crossEntropy else {
        writeElements(row, c, rest, to: target)
        continue
      }
      let p = probabilities.pointer + row * classes
      let top = position.top
      let share = p[top].squareRoot() / (1 + p[top].squareRoot())
      var others = 0.0  // 1 - p_c as the sum of the others
      for j in 0..<classes where j != top { others += p[j] }
      for j in 0..<classes { target[j] = S(-p[j] * (1 - share)) }
      if let rest {
        for j in rest.classes {
          target[Int(j)] = S(p[Int(j)] / rest.mass - p[Int(j)] * (1 - share))
        }
      } else {
        target[Int(c)] = S(1 - p[Int(c)] * (1 - share))
      }
      target[top] = S(-p[top] - share * others)
    }
  }

  private func writeElements(
    _ row: Int, _ c: Int32, _ rest: Rest?, to target: UnsafeMutablePointer<S>
  ) {
    guard let rest else {
      target[Int(c)] = 1
      return
    }
    let size = rest.squareOfGradient.squareRoot()
    if size == 0 { return }
    for j in rest.classes { target[Int(j)] = S(elementGradient(row, Int(j)) / size) }
  }

  // MARK: - What is left of a position

  private struct Rest {
    var classes: [Int32] = []
    /// Of cross-entropy: the sum of their probabilities, and of their u.
    var mass = 0.0
    var gradient = 0.0
    /// Of losses of single elements.
    var squareOfWeights = 0.0
    var squareOfGradient = 0.0
  }

  private func restOf(_ position: LeadingRows.Position) -> Rest {
    let leads = LeadingRows.leads(position, of: classes)
    let row = position.row
    var rest = Rest()
    for c in 0..<classes where !leads[c] && mass(row, c) > 0 {
      rest.classes.append(Int32(c))
      if loss == .crossEntropy {
        rest.mass += probabilities[row * classes + c]
        if case .centred(let u) = gradient { rest.gradient += u[row * classes + c] }
      } else {
        let (w, u) = (elementWeight(row, c), elementGradient(row, c))
        rest.squareOfWeights += w * w
        rest.squareOfGradient += u * u
      }
    }
    return rest
  }

  /// Of every class that has no row of its own its part of an image that is orthogonal to the rows.
  private func forEachUnseen(
    _ rows: LeadingRows, _ image: Vector<Double>,
    _ body: (_ place: Int, _ class: Int, _ part: Double) -> Void
  ) {
    for (place, position) in rows.positions.enumerated() where position.hasRest {
      let rest = restOf(position)
      let first = position.row * classes
      func along(_ c: Int32) -> Double {
        loss == .crossEntropy
          ? (probabilities[first + Int(c)] / rest.mass).squareRoot()
          : rest.squareOfWeights > 0
            ? elementWeight(position.row, Int(c)) / rest.squareOfWeights.squareRoot() : 0
      }
      let seen = rest.classes.reduce(0) { $0 + along($1) * image[first + Int($1)] }
      for c in rest.classes { body(place, Int(c), image[first + Int(c)] - along(c) * seen) }
    }
  }

  // MARK: - Classes

  /// `H_cc`, up to a factor of `1 - p_c` for cross-entropy.
  private func mass(_ row: Int, _ c: Int) -> Double {
    let place = row * classes + c
    switch loss {
    case .crossEntropy: return (weights.isEmpty ? 1 : weights[row]) * probabilities[place]
    case .squaredError, .binaryCrossEntropy:
      return hessianDiagonal.count == 0 ? 1 : hessianDiagonal[place]
    }
  }

  private func elementWeight(_ row: Int, _ c: Int) -> Double {
    roots.isEmpty ? elementGradient(row, c) : roots[row * classes + c]
  }

  private func elementGradient(_ row: Int, _ c: Int) -> Double {
    guard case .elementwise(let u) = gradient else { return 0 }
    return u[row * classes + c]
  }

  /// The label of a row that is one class; -1 otherwise.
  private func hardLabel(_ row: Int) -> Int {
    if case .softmax(let labels, _, _) = gradient { return Int(labels[row]) }
    return -1
  }

  private func topClass(_ row: Int) -> Int {
    guard loss == .crossEntropy else { return -1 }
    let p = probabilities.pointer + row * classes
    return (1..<classes).reduce(0) { p[$1] > p[$0] ? $1 : $0 }
  }

  private func forEachClass(_ body: (_ row: Int, _ class: Int, _ isTop: Bool) -> Void) {
    for row in 0..<samples * positions where isScored(row) {
      let top = topClass(row)
      for c in 0..<classes { body(row, c, c == top) }
    }
  }

  /// What leaving a class out costs: its share of the trace of H, and of soft labels also that of |w|^2,
  /// whose w is not in the proportions of `sqrt(p)`.
  private func importanceOfClasses() -> (_ row: Int, _ class: Int) -> Double {
    guard loss == .crossEntropy, case .centred(let u) = gradient else { return mass }
    func square(_ row: Int, _ c: Int) -> Double {
      let (own, mass) = (u[row * classes + c], mass(row, c))
      return own == 0 ? 0 : own / mass * own
    }
    var (trace, norm) = (0.0, 0.0)
    forEachClass { row, c, isTop in
      norm += square(row, c)
      if !isTop { trace += mass(row, c) }
    }
    return { row, c in
      (trace > 0 ? self.mass(row, c) / trace : 0) + (norm > 0 ? square(row, c) / norm : 0)
    }
  }
}
