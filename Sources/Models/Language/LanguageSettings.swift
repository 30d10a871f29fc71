import Checkpoints

extension JSONContent {
  /// Whether a setting of this content is as if it were left out.
  var saysNothing: Bool {
    switch self {
    case .null, .bool(false), .string(""): true
    case .array(let elements): elements.isEmpty
    case .object(let members): members.isEmpty
    default: false
    }
  }
}

// Settings of a configuration: all that are read, or have no effect, are known.
extension JSONValue {
  /// - Parameter read: Settings that a family makes something of.
  /// - Throws: An error that names the first setting which is neither read nor known to leave
  ///   arithmetic alone, and is set.
  func requireSettings(_ read: Set<String>) throws(CheckpointError) {
    for key in try keys()
    where !read.contains(key) && !Self.withoutEffect.contains(key) && !key.hasPrefix("_") {
      let value = self[key]
      if try value.content().saysNothing { continue }
      if key == "quantization_config" {
        throw value.wrong(
          "nothing: quantised weights are not read", hint: "Give the model as it was before.")
      }
      if key.contains("expert") {
        throw value.wrong(
          "nothing: mixtures of experts are not supported",
          hint: "Give a model whose layers have one feed-forward each.")
      }
      throw value.wrong("nothing: this setting is not supported")
    }
  }

  /// A setting that must be what it is where nothing is said.
  func requireValue(_ expected: String) throws(CheckpointError) {
    if try string(default: expected) != expected { throw wrong("\"\(expected)\"") }
  }

  /// A number above zero.
  func positive() throws(CheckpointError) -> Double {
    let value = try double()
    guard value > 0, value.isFinite else { throw wrong("a number above zero") }
    return value
  }

  /// Dropout, which scoring leaves out; names of things; how training went; how text is generated; and
  /// what is said of it elsewhere (`architectures`, classes, the loss).
  private static let withoutEffect: Set<String> = [
    "_attn_implementation", "_attn_implementation_autoset", "_commit_hash", "_name_or_path",
    "activation_dropout", "architectures", "attention_dropout", "attention_probs_dropout_prob",
    "attn_implementation", "attn_pdrop", "auto_map", "bad_words_ids", "begin_suppress_tokens",
    "bos_token_id", "cache_implementation", "chunk_size_feed_forward", "classifier_dropout",
    "classifier_dropout_prob", "decoder_start_token_id", "directionality", "diversity_penalty",
    "do_sample", "dropout", "dtype", "early_stopping", "embd_pdrop", "encoder_no_repeat_ngram_size",
    "eos_token_id", "exponential_decay_length_penalty", "finetuning_task", "forced_bos_token_id",
    "forced_eos_token_id", "gradient_checkpointing", "hidden_dropout", "hidden_dropout_prob",
    "id2label", "init_std", "initializer_range", "is_llama_config", "keys_to_ignore_at_inference",
    "label2id",
    "layerdrop", "length_penalty", "loss_type", "max_length", "min_length", "model_type", "n_ctx",
    "name_or_path", "no_repeat_ngram_size", "num_beam_groups", "num_beams", "num_labels",
    "num_return_sequences", "output_attentions", "output_hidden_states", "output_past",
    "output_scores", "pooler_fc_size", "pooler_num_attention_heads", "pooler_num_fc_layers",
    "pooler_size_per_head", "pooler_type", "prefix", "pretraining_tp", "problem_type",
    "qa_dropout", "remove_invalid_values", "reorder_and_upcast_attn", "repetition_penalty",
    "resid_pdrop", "return_dict", "return_dict_in_generate", "sep_token_id", "seq_classif_dropout",
    "sinusoidal_pos_embds", "summary_activation", "summary_first_dropout",
    "summary_proj_to_labels", "summary_type", "summary_use_proj", "suppress_tokens",
    "task_specific_params", "temperature", "tf_legacy_loss", "tie_weights_", "tokenizer_class",
    "top_k", "top_p", "torch_dtype", "torchscript", "transformers.js_config",
    "transformers_version", "typical_p",
    "use_bfloat16", "use_cache",
  ]
}
