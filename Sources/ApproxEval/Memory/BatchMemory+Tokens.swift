import Curvature
import GraphModule
import TensorModule

// What it takes that every scored position is a sample of its own: a forward pass and backward passes beside
// those of the batch.
extension BatchMemory {
  /// With every linear layer applied to its own rows.
  var layerProgram: Program {
    if let tokens = checkpoint.tokens { return tokens.layerProgram ?? tokens.program }
    return checkpoint.layerProgram ?? program
  }

  /// Inputs, labels and what is known of the outputs of all positions, and their forward pass.
  mutating func addTokens() {
    let inputs = gradients.program.graph.inputs.total { spec in
      let count = spec.shape.reduce(1, *)
      return spec.kind == .real
        ? gradients.scalars(gradients.samples, count)
        : gradients.doubles(gradients.samples, count, 2)
    }
    plan.keep("batch", inputs + labels(gradients))
    plan.keep("output distribution", distribution(gradients))
    plan.keep("forward values", gradients.forward)
    addGradientPass(cotangents: 0)
  }

  /// A backward pass of so many cotangents for each sample that gradients are of, or products with the
  /// blocks of single layers.
  mutating func addGradientPass(tangents: Int = 0, cotangents: Int) {
    if checkpoint.tokens == nil { return addPass(tangents: tangents, cotangents: cotangents) }
    plan.grow(
      "work space of operations on positions", to: gradients.scratch(max(tangents, cotangents)))
    plan.grow("tangents of positions", to: gradients.tangents(tangents))
    plan.grow("cotangents of positions", to: gradients.cotangents(cotangents))
  }

  /// Products of blocks that are solved for by iterations: those of the reference have other memory.
  mutating func addBlockProducts() {
    if checkpoint.tokens == nil { return }
    addGradientPass(tangents: 1, cotangents: 1)
    plan.grow("sums of gradients of positions", to: gradients.accumulators)
  }
}

extension BatchNeeds {
  /// Of the samples that gradients are of: these, or the scored positions of so many of the data.
  func ofGradients(_ tokens: TokenSamples?, of samples: Int, threads: Int) -> BatchNeeds {
    guard let tokens else { return self }
    return BatchNeeds(
      tokens.program, samples: tokens.most(of: samples), threads: threads, budget: spareBudget)
  }
}
