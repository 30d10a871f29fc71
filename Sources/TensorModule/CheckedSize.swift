// Arithmetic on numbers that come from a file or an option and are to become a size, an offset, a
// count, a stride or the end of a loop. Such a number may be anything; what does not fit is nil
// here and an error of the reader, never a trap.

/// The product, nil if a factor is negative or the product is beyond the limit. A zero does not
/// excuse an overflow among the other factors: a shape that could not be without it is wrong.
package func checkedProduct(_ factors: some Sequence<Int>, atMost limit: Int = .max) -> Int? {
  var product = 1
  var hasZero = false
  for factor in factors {
    if factor < 0 { return nil }
    if factor == 0 {
      hasZero = true
      continue
    }
    let (next, overflow) = product.multipliedReportingOverflow(by: factor)
    if overflow || next > limit { return nil }
    product = next
  }
  return hasZero ? 0 : product
}

/// The product of these factors.
package func checkedProduct(_ factors: Int..., atMost limit: Int = .max) -> Int? {
  checkedProduct(factors, atMost: limit)
}

/// The sum, nil if a term is negative or the sum does not fit.
package func checkedSum(_ terms: Int...) -> Int? {
  var sum = 0
  for term in terms {
    let (next, overflow) = sum.addingReportingOverflow(term)
    if term < 0 || overflow { return nil }
    sum = next
  }
  return sum
}
