extension ExportedProgramHostileTests {
  // MARK: - Graphs

  static let graphs: [Case] = [
    .graph(
      "a value that nothing gives", #"{"as_tensor": {"name": "x"}}, "kind""#,
      #"{"as_tensor": {"name": "y"}}, "kind""#,
      """
      the network is not valid: it uses "y", which nothing before it gives
        at FILE, node mul (torch.ops.aten.mul.Tensor)
        The file is damaged, or torch.export.save did not write it; export it again.
      """),
    .graph(
      "a value before it is given", #"{"as_tensor": {"name": "b_calls"}}, "kind""#,
      #"{"as_tensor": {"name": "mul"}}, "kind""#,
      """
      the network is not valid: it uses "mul", which nothing before it gives
        at FILE, node add (torch.ops.aten.add.Tensor)
        The file is damaged, or torch.export.save did not write it; export it again.
      """),
    .graph(
      "a value of itself", #"{"as_tensor": {"name": "b_calls"}}, "kind""#,
      #"{"as_tensor": {"name": "add"}}, "kind""#,
      """
      the network is not valid: it uses "add", which nothing before it gives
        at FILE, node add (torch.ops.aten.add.Tensor)
        The file is damaged, or torch.export.save did not write it; export it again.
      """),
    .graph(
      "a value given twice", #""outputs": [{"as_tensor": {"name": "mul"}}], "metadata""#,
      #""outputs": [{"as_tensor": {"name": "add"}}], "metadata""#,
      """
      the network is not valid: it gives "add", which is given before
        at FILE, node mul (torch.ops.aten.mul.Tensor)
        The file is damaged, or torch.export.save did not write it; export it again.
      """),
    .graph(
      "a value without type", #""mul": {"dtype""#, #""mul_1": {"dtype""#,
      """
      the network is not valid: there is no type of "mul"
        at FILE, node mul (torch.ops.aten.mul.Tensor)
        The file is damaged, or torch.export.save did not write it; export it again.
      """),
    .graph(
      "a tensor used as a size", #"{"as_int": 1}, "kind""#,
      #"{"as_sym_int": {"as_name": "length"}}, "kind""#,
      """
      the network is not valid: it uses "length", which nothing before it gives
        at FILE, node add (torch.ops.aten.add.Tensor)
        The file is damaged, or torch.export.save did not write it; export it again.
      """),
    .graph(
      "an output that nothing gives", #"{"as_tensor": {"name": "mul"}}], "nodes""#,
      #"{"as_tensor": {"name": "logits"}}], "nodes""#,
      """
      the network is not valid: it uses "logits", which nothing before it gives
        at FILE, an output of the graph
        The file is damaged, or torch.export.save did not write it; export it again.
      """),
    .graph(
      "an inner graph that uses the outer one's values", #"{"as_int": 1}, "kind""#,
      #"""
      {"as_graph": {"name": "g", "graph": {"inputs": [], "outputs": [{"as_tensor": {"name": "x"}}], "nodes": [], "tensor_values": {}, "sym_int_values": {}, "sym_bool_values": {}}}}, "kind"
      """#,
      """
      the network is not valid: it uses "x", which nothing before it gives
        at FILE, an output of the graph
        The file is damaged, or torch.export.save did not write it; export it again.
      """),
    .graph(
      "fewer inputs than the signature has", #"{"as_tensor": {"name": "b_calls"}}, {"#, "{",
      """
      the network is not valid: it uses "b_calls", which nothing before it gives
        at FILE, node add (torch.ops.aten.add.Tensor)
        The file is damaged, or torch.export.save did not write it; export it again.
      """),
    .graph(
      "more outputs than the signature has", #""outputs": [{"as_tensor": {"name": "add"}}, "#,
      #""outputs": [{"as_tensor": {"name": "add"}}, {"as_int": 2}, "#,
      """
      the network is not valid: the graph has 3 outputs, its signature 2
        at FILE
        The file is damaged, or torch.export.save did not write it; export it again.
      """),
    .graph(
      "a signature in another order", #"{"parameter": {"arg": {"name": "p_scale"}"#,
      #"{"parameter": {"arg": {"name": "x"}"#,
      """
      the network is not valid: the signature has an input "x" that the graph has not there
        at FILE
        The file is damaged, or torch.export.save did not write it; export it again.
      """),
    .graph(
      "an output in the signature alone", #"{"buffer_mutation": {"arg": {"name": "add"}"#,
      #"{"buffer_mutation": {"arg": {"name": "sum"}"#,
      """
      the network is not valid: the signature has an output "sum" that the graph has not there
        at FILE
        The file is damaged, or torch.export.save did not write it; export it again.
      """),
    .graph(
      "a call with another number of inputs",
      #"[{\"type\": null, \"context\": null, \"children_spec\": []}]}, {\"type\": \"builtins.dict\""#,
      #"[]}, {\"type\": \"builtins.dict\""#,
      """
      the network is not valid: its call has 0 inputs, its signature 1
        at FILE
        The file is damaged, or torch.export.save did not write it; export it again.
      """),
    .graph(
      "an object as input",
      #"{"parameter": {"arg": {"name": "p_scale"}, "parameter_name": "scale"}}"#,
      #"{"custom_obj": {"arg": {"name": "q", "class_fqn": "my.Queue"}, "custom_obj_name": "queue"}}"#,
      """
      models/model.json.graph_module.signature.input_specs[0] is an object, expected a tensor or a number
        at FILE
        "queue" is an object of the class "my.Queue", which only its own code understands.
      """),
  ]

  // MARK: - Weights

  static let weights: [Case] = [
    .graph(
      "a parameter that the archive does not have", #""parameter_name": "scale""#,
      #""parameter_name": "scales""#,
      """
      there is no tensor scales
        at FILE
        Did you mean scale or calls?
      """),
    .graph(
      "a weight of another shape", #""p_scale": {"dtype": 7, "sizes": [{"as_int": 2}"#,
      #""p_scale": {"dtype": 7, "sizes": [{"as_int": 3}"#,
      """
      shape is [2], expected [3]
        at FILE, tensor scale
      """),
    .graph(
      "a weight of another type", #""p_scale": {"dtype": 7"#, #""p_scale": {"dtype": 8"#,
      """
      dtype is F32, expected F64
        at FILE, tensor scale
      """),
    .weight(
      "an offset beyond the storage", #""storage_offset": {"as_int": 0}"#,
      #""storage_offset": {"as_int": 1}"#,
      """
      shape [2] with strides [1] from offset 1 is not inside a storage of 2 elements
        at FILE, tensor scale
        The file was not written correctly; save it again with torch.export.save.
      """),
    .weight(
      "an offset beyond every storage", #""storage_offset": {"as_int": 0}"#,
      #""storage_offset": {"as_int": 9223372036854775807}"#,
      """
      shape [2] with strides [1] from offset 9223372036854775807 is not inside a storage of 2 elements
        at FILE, tensor scale
        The file was not written correctly; save it again with torch.export.save.
      """),
    .weight(
      "a size beyond the storage", #""sizes": [{"as_int": 2}]"#,
      #""sizes": [{"as_int": 1152921504606846975}]"#,
      """
      shape [1152921504606846975] with strides [1] from offset 0 is not inside a storage of 2 elements
        at FILE, tensor scale
        The file was not written correctly; save it again with torch.export.save.
      """),
    .weight(
      "numbers repeated without end",
      #""sizes": [{"as_int": 2}], "requires_grad": true, "device": {"type": "cpu", "index": null}, "strides": [{"as_int": 1}]"#,
      #""sizes": [{"as_int": 99999999}], "requires_grad": true, "device": {"type": "cpu", "index": null}, "strides": [{"as_int": 0}]"#,
      """
      8 stored bytes claim to unpack to 399999996
        at FILE, tensor scale
        Its strides repeat the same numbers; call contiguous() on it before saving.
      """),
    .weight(
      "strides of another rank", #""strides": [{"as_int": 1}]"#, #""strides": []"#,
      """
      shape [2] with strides [] from offset 0 is not inside a storage of 2 elements
        at FILE, tensor scale
        The file was not written correctly; save it again with torch.export.save.
      """),
    .weight(
      "a size that the data decide", #""sizes": [{"as_int": 2}]"#,
      #""sizes": [{"as_expr": {"expr_str": "Symbol('s0', integer=True)"}}]"#,
      """
      data/weights/model_weights_config.json.config.scale.tensor_meta is an object, expected sizes, strides and an offset that are numbers
        at FILE
      """),
    .weight(
      "complex numbers", #""dtype": 7"#, #""dtype": 10"#,
      """
      unknown dtype torch.complex64 (layout strided)
        at FILE, tensor scale
        Known are F64, F32, F16, BF16, I64, I32, I16, I8, U8 or BOOL; convert it and save again.
      """),
    .weight(
      "one storage of two types", #""path_name": "weight_1""#, #""path_name": "weight_0""#,
      """
      data/weights/model_weights_config.json.config.scale.tensor_meta.dtype is 7, expected 5, as another tensor of its storage has it
        at FILE
      """),
    Case(
      "a storage that is no whole number of elements",
      """
      7 bytes of data, but F32 of shape [1] takes 4
        at FILE, tensor scale
        The file was not written correctly; save it again with torch.export.save.
      """
    ) { $0.members["data/weights/weight_0"] = [UInt8](repeating: 0, count: 7) },
    Case(
      "weights without numbers",
      """
      shape [2] with strides [1] from offset 0 is not inside a storage of 0 elements
        at FILE, tensor scale
        The file was not written correctly; save it again with torch.export.save.
      """
    ) { $0.members["data/weights/weight_0"] = [] },
    Case(
      "a weight that calls something",
      """
      os.system is not allowed: nothing that a file contains is executed
        at FILE, member counter/data/weights/weight_0, tensor archive/data.pkl, byte 2
        Save tensors and numbers alone: torch.save(model.state_dict(), path).
      """
    ) {
      $0.replace(#""use_pickle": false"#, #""use_pickle": true"#, in: ProgramDraft.weights)
      $0.members["data/weights/weight_0"] = zip([
        ZipMember(
          name: "archive/data.pkl",
          bytes: Pickle.program(
            Pickle.global("os", "system") + Pickle.tuple([Pickle.text("true")]) + Pickle.reduce))
      ])
    },
  ]
}
