"""Operations that the graph of a foreign classifier may contain.

Each is a function of its input tensors alone: it does not access files, the network, other
processes, Python, or state that outlives a call, and it does not wait for anything. An operation
that is not listed is refused, so an operation that a later version of TensorFlow adds is refused
until it is listed here.
"""


def _names(text: str) -> frozenset[str]:
    return frozenset(text.split())


# Arithmetic per element. All have a gradient, or are constant almost everywhere.
_ELEMENTWISE = _names(
    "Abs AccumulateNV2 Acos Acosh Add AddN AddV2 Asin Asinh Atan Atan2 Atanh Cast Ceil ClipByValue Cos"
    " Cosh Digamma Div DivNoNan Elu Erf Erfc Erfinv Exp Expm1 Floor FloorDiv FloorMod Inv LeakyRelu"
    " Lgamma Log Log1p LogSoftmax Maximum Minimum Mod Mul MulNoNan Ndtri Neg Pow RealDiv Reciprocal"
    " Relu Relu6 Rint Round Rsqrt Selu Sigmoid Sign Sin Sinh Softmax Softplus Softsign Sqrt Square"
    " SquaredDifference Sub Tan Tanh TruncateDiv TruncateMod Xdivy Xlog1py Xlogy"
)
# Comparisons and choices: their results are constant almost everywhere.
_LOGIC = _names(
    "All Any ApproximateEqual Equal Greater GreaterEqual IsFinite IsInf IsNan Less LessEqual LogicalAnd"
    " LogicalNot LogicalOr NotEqual Select SelectV2 Where"
)
_INTEGERS = _names("BitwiseAnd BitwiseOr BitwiseXor Invert LeftShift RightShift")
_REDUCTIONS = _names(
    "ArgMax ArgMin Cumprod Cumsum CumulativeLogsumexp EuclideanNorm L2Loss Max Mean Min NthElement Prod"
    " SegmentMax SegmentMean SegmentMin SegmentProd SegmentSum Sum TopK TopKV2 UnsortedSegmentMax"
    " UnsortedSegmentMin UnsortedSegmentProd UnsortedSegmentSum"
)
_LINEAR_ALGEBRA = _names(
    "BatchMatMul BatchMatMulV2 BatchMatMulV3 Cholesky Cross Diag DiagPart Einsum MatMul MatrixBandPart"
    " MatrixDeterminant MatrixDiag MatrixDiagPart MatrixDiagPartV2 MatrixDiagPartV3 MatrixDiagV2"
    " MatrixDiagV3 MatrixInverse MatrixSetDiag MatrixSetDiagV2 MatrixSetDiagV3 MatrixSolve"
    " MatrixTriangularSolve SparseMatMul Svd"
)
_NETWORKS = _names(
    "AvgPool AvgPool3D BatchNormWithGlobalNormalization BiasAdd BiasAddV1 Conv2D Conv2DBackpropInput"
    " Conv3D Conv3DBackpropInputV2 DepthwiseConv2dNative DepthwiseConv2dNativeBackpropInput Dilation2D"
    " FusedBatchNorm FusedBatchNormV2 FusedBatchNormV3 LRN MaxPool MaxPool3D MaxPoolV2"
    " MaxPoolWithArgmax SoftmaxCrossEntropyWithLogits SparseSoftmaxCrossEntropyWithLogits"
)
# The same layers when they compute a gradient inside the model.
_GRADIENTS_OF_NETWORKS = _names(
    "AvgPoolGrad BiasAddGrad BroadcastGradientArgs Conv2DBackpropFilter EluGrad"
    " FusedBatchNormGradV3 LeakyReluGrad MaxPoolGrad MirrorPadGrad Relu6Grad ReluGrad"
    " ResizeBilinearGrad ResizeNearestNeighborGrad RsqrtGrad SeluGrad SigmoidGrad SoftplusGrad SqrtGrad"
    " StridedSliceGrad TanhGrad"
)
_SHAPES = _names(
    "BatchToSpace BatchToSpaceND BroadcastArgs BroadcastTo Concat ConcatOffset ConcatV2"
    " ConjugateTranspose DataFormatDimMap DataFormatVecPermute DepthToSpace DynamicPartition"
    " DynamicStitch EnsureShape ExpandDims ExtractImagePatches ExtractVolumePatches Fill Gather GatherNd"
    " GatherV2 InvertPermutation LinSpace MirrorPad OneHot OnesLike Pack Pad PadV2 ParallelDynamicStitch"
    " Range Rank Reshape Reverse ReverseSequence ReverseV2 Roll ScatterNd Shape ShapeN Size Slice"
    " SpaceToBatch SpaceToBatchND SpaceToDepth Split SplitV Squeeze StridedSlice"
    " TensorScatterAdd TensorScatterMax TensorScatterMin TensorScatterSub TensorScatterUpdate"
    " TensorStridedSliceUpdate Tile Transpose Unpack ZerosLike"
)
_IMAGES = _names(
    "AdjustContrastv2 AdjustHue AdjustSaturation CropAndResize HSVToRGB ImageProjectiveTransformV2"
    " ImageProjectiveTransformV3 RGBToHSV ResizeArea ResizeBicubic ResizeBilinear"
    " ResizeNearestNeighbor ScaleAndTranslate"
)
_FREQUENCIES = _names(
    "Angle Complex ComplexAbs Conj FFT FFT2D FFT3D IFFT IFFT2D IFFT3D IRFFT IRFFT2D Imag RFFT RFFT2D Real"
)
# Simulated and real quantization of networks.
_QUANTIZATION = _names(
    "Dequantize FakeQuantWithMinMaxArgs FakeQuantWithMinMaxVars FakeQuantWithMinMaxVarsPerChannel"
    " QuantizeAndDequantize QuantizeAndDequantizeV2 QuantizeAndDequantizeV3 QuantizeAndDequantizeV4"
    " QuantizeV2"
)
# Random numbers: they have a state, the position of a generator, that nothing else can observe.
_RANDOM = _names(
    "Multinomial RandomShuffle RandomStandardNormal RandomUniform RandomUniformInt StatelessMultinomial"
    " StatelessRandomGetAlg StatelessRandomGetKeyCounter StatelessRandomGetKeyCounterAlg"
    " StatelessRandomNormal StatelessRandomNormalV2 StatelessRandomUniform"
    " StatelessRandomUniformFullInt StatelessRandomUniformFullIntV2 StatelessRandomUniformInt"
    " StatelessRandomUniformIntV2 StatelessRandomUniformV2 StatelessTruncatedNormal"
    " StatelessTruncatedNormalV2 TruncatedNormal"
)
# Inputs, constants, order and choices. `Assert` and `CheckNumerics` can only raise an error. Loops are
# not here, because a loop need not end: see `graph_loops`.
_STRUCTURE = _names(
    "Assert Case CheckNumerics CheckNumericsV2 Const ControlTrigger Identity IdentityN If Merge NoOp"
    " PartitionedCall Placeholder PlaceholderV2 PlaceholderWithDefault PreventGradient"
    " StatefulPartitionedCall StatelessCase StatelessIf StopGradient Switch"
)

INFERENCE_OPERATIONS = frozenset().union(
    _ELEMENTWISE,
    _LOGIC,
    _INTEGERS,
    _REDUCTIONS,
    _LINEAR_ALGEBRA,
    _NETWORKS,
    _GRADIENTS_OF_NETWORKS,
    _SHAPES,
    _IMAGES,
    _FREQUENCIES,
    _QUANTIZATION,
    _RANDOM,
    _STRUCTURE,
)

# Loops that count their steps, and the lists that they read and write.
_LOOPS = _names(
    "EmptyTensorList StatelessWhile TensorListConcatV2 TensorListElementShape TensorListFromTensor"
    " TensorListGather TensorListGetItem TensorListLength TensorListPopBack TensorListPushBack"
    " TensorListReserve TensorListResize TensorListSetItem TensorListStack While"
)
BOUNDED_OPERATIONS = INFERENCE_OPERATIONS | _LOOPS

# Loading a SavedModel also creates its variables and tables and gives them values in memory.
LOADING_OPERATIONS = INFERENCE_OPERATIONS | _names(
    "Assign AssignVariableOp HashTable HashTableV2 InitializeTable InitializeTableV2 IsVariableInitialized"
    " LookupTableImport LookupTableImportV2 LookupTableSize LookupTableSizeV2 MutableHashTable"
    " MutableHashTableV2 ReadVariableOp VarHandleOp VarIsInitializedOp Variable VariableV2"
)

# An exported pipeline also reads its variables, decodes images, and repeats steps: loops need not end,
# so they are tried with a time limit.
SERVING_OPERATIONS = (LOADING_OPERATIONS | _LOOPS) | _names(
    "BatchFunction DecodeImage DecodeJpeg DecodePng DecodeRaw ExtractJpegShape ReduceJoin"
    " StaticRegexFullMatch StringJoin StringLength Substr AsString Enter Exit LoopCond NextIteration"
    " Bincount DenseBincount StatelessRandomGammaV2 StatelessRandomGammaV3 StatelessShuffle Unique"
    " UniqueV2 StringFormat LowerBound UpperBound Betainc Igamma Igammac Bitcast"
    " SelfAdjointEigV2 UnravelIndex"
)

# Signatures of classifiers also count calls and update averages. Such side effects are dropped before the
# graph runs; what remains is judged by `BOUNDED_OPERATIONS`.
SIGNATURE_OPERATIONS = SERVING_OPERATIONS | _names(
    "AssignAdd AssignAddVariableOp AssignSub AssignSubVariableOp ResourceGather RngReadAndSkip RngSkip"
)
