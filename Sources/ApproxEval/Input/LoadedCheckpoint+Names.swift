import Models

// Parameters by the names that training scripts have for them.
extension LoadedCheckpoint {
  /// The model's own name of a parameter that other versions of Transformers, PEFT, DataParallel or
  /// torch.compile name otherwise; `nil` for what a saved module has replaced.
  func ownName(of name: String) -> String? {
    if parameterNames.contains(name) { return name }
    var bare = name[...]
    let wrappers = ["module.", "_orig_mod.", "_fsdp_wrapped_module.", "base_model.model."]
    while let wrapper = wrappers.first(where: { bare.hasPrefix($0) }) {
      bare = bare.dropFirst(wrapper.count)
    }
    if bare == "prompt_encoder.default.embedding.weight" { return "prompt_embeddings" }
    return Model.parameterName(
      ofAdapterTensor: String(bare).replacing(".default.", with: "."), modelType: model.type)
  }
}
