import ApproxEval
import Updates
var o = EvaluationOptions()
let a = CommandLine.arguments
o.precision = a.contains("--f32") ? .float32 : .float64
if a.contains("--dense") { o.reference = .dense }
o.dampings = ["1e-10","1e-4","0.1"].map { Damping($0)! }
if a.contains("--digits") { o.dampings = ["1e-7"].map { Damping($0)! } }
for r in try Evaluation(o).score(checkpoint: a[1]) {
  print(r.loss, r.gradientNorm, r.gammaBound, r.reference!, r.seconds)
  for s in r.scores { print(s.method, s.damping ?? "", s.gamma, s.efficiency!, s.efficiencyLow, s.fisherQuadratic, s.updateNorm, s.cosineGradient, s.seconds, s.isBelowRounding) }
  for t in r.trace.prefix(4) { print(t) }
}
