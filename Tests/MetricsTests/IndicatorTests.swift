import Metrics
import Testing

/// One division and one square root: two roundings, each half an ulp.
private let twoRoundings = 2 * Double.ulpOfOne

@Suite struct IndicatorTests {
  @Test func gammaIsRootOfQuadraticOverAbsoluteDot() {
    #expect(Indicator(fisherQuadratic: 9, gradientDot: -6).gamma == 0.5)
    #expect(Indicator(fisherQuadratic: 4, gradientDot: 2).bestDecrease == 0.5)
  }

  @Test(arguments: [1e-120, -3e-7, 1, -2.5, 4e130])
  func gammaIgnoresScaleAndSignOfTheDirection(scale: Double) {
    let (quadratic, dot) = (0.37, 1.9)
    let gamma = Indicator(fisherQuadratic: quadratic, gradientDot: dot).gamma
    let scaled = Indicator(
      fisherQuadratic: quadratic * scale * scale, gradientDot: dot * scale
    ).gamma
    // Three more roundings on the way in.
    #expect(abs(scaled / gamma - 1) <= 3 * twoRoundings, "\(scaled) for \(gamma)")
  }

  @Test func gammaNeitherOverflowsNorUnderflows() {
    #expect(Indicator(fisherQuadratic: 1e300, gradientDot: 1e200).gamma == 1e150 / 1e200)
    #expect(Indicator(fisherQuadratic: 1e-300, gradientDot: 1e-200).gamma == 1e-150 / 1e-200)
    let small = Indicator(fisherQuadratic: 0x1p-1074, gradientDot: 0x1p-537)
    #expect(small.gamma == 1)
    #expect(small.bestDecrease == 0.5)
    let large = Indicator(fisherQuadratic: 1e300, gradientDot: 1e200).bestDecrease
    #expect(abs(large / 5e99 - 1) <= 4 * twoRoundings)
  }

  @Test func directionAlongWhichTheLossIsFlatToFirstOrderHasInfiniteGamma() {
    #expect(Indicator(fisherQuadratic: 2, gradientDot: 0).gamma == .infinity)
    #expect(Indicator(fisherQuadratic: 2, gradientDot: 0).bestDecrease == 0)
  }

  @Test func whatHasNoGammaIsNaNRatherThanTheBestOfAll() {
    #expect(Indicator(fisherQuadratic: 0, gradientDot: 0).gamma.isNaN)
    #expect(Indicator(fisherQuadratic: -1e-30, gradientDot: 1).gamma.isNaN)
    #expect(Indicator(fisherQuadratic: .nan, gradientDot: 1).gamma.isNaN)
    #expect(Indicator(fisherQuadratic: 1, gradientDot: .nan).gamma.isNaN)
  }

  @Test func whatHasNoGammaSaysWhy() {
    func defect(_ quadratic: Double, _ dot: Double) -> Indicator.Defect? {
      Indicator(fisherQuadratic: quadratic, gradientDot: dot).defect
    }
    #expect(defect(0, 0) == .flat)
    #expect(defect(0, 1e-300) == .underflow)
    #expect(defect(0x1p-1030, 1) == .underflow)
    #expect(defect(-1e-30, 1) == .invalid)
    #expect(defect(.infinity, .infinity) == .invalid)
    #expect(defect(1, 1) == nil)
    #expect(defect(1, 0) == nil)
  }

  @Test func efficiencyIsTheRatioOfBestDecreases() {
    // F = diag(1, 4), g = (1, 1): F^-1 g = (1, 1/4), and d = g.
    let reference = Indicator(fisherQuadratic: 1.25, gradientDot: 1.25)
    let gradient = Indicator(fisherQuadratic: 5, gradientDot: 2)
    let share = efficiency(gamma: gradient.gamma, reference: reference.gamma)
    #expect(abs(share - gradient.bestDecrease / reference.bestDecrease) <= 4 * twoRoundings)
    #expect(abs(share - 0.64) <= 4 * twoRoundings)
    #expect(gammaRelative(reference.gamma, to: gradient.gamma) < 1)
    #expect(efficiency(gamma: reference.gamma, reference: reference.gamma) == 1)
  }

  @Test func certificateBoundGivesAnEfficiencyNoHigherThanTheReferenceDoes() {
    #expect(efficiencyLow(gamma: 2, bound: 1) == 0.25)
    #expect(efficiencyLow(gamma: 2, bound: 1) <= efficiency(gamma: 2, reference: 1.5))
    #expect(efficiencyLow(gamma: .infinity, bound: 1) == 0)
  }

  @Test func imbalanceIsTheRatioOfExtremes() {
    #expect(imbalance([3, 1.5, 6]) == 4)
    #expect(imbalance([5]) == 1)
    #expect(imbalance([0, 2]) == .infinity)
    #expect(imbalance([0, 0]).isNaN)
    #expect(imbalance([1, .nan, 2]).isNaN)
    #expect(imbalance([]).isNaN)
  }
}
