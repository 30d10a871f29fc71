// swift-format-ignore-file
// Written by Sources/CKernels/references.py (mpmath, 4000 bits); do not edit.
import CKernels

struct ActivationReference {
  var x, value, derivative: Double
  /// The first of the two terms the derivative is a sum of: where they cancel, its scale.
  var term: Double
}

let activationReferences: [(ck_activation, [ActivationReference])] = [
  (
    CK_GELU_ERF,
    [
      ActivationReference(
        x: -37.5, value: -1.7270073785932330664e-306, derivative: -6.476271143055812623e-305,
        term: 4.6053530095819548438e-308),
      ActivationReference(
        x: -24.0, value: -3.336941084519287343e-126, derivative: -8.008610739121200982e-125,
        term: 1.3903921185497030596e-127),
      ActivationReference(
        x: -19.0, value: -1.620172550999885537e-79, derivative: -3.0782812459172242132e-78,
        term: 8.5272239526309765105e-81),
      ActivationReference(
        x: -12.75, value: -1.9873760183235289903e-36, derivative: -2.5337182984398330256e-35,
        term: 1.5587262888811992081e-37),
      ActivationReference(
        x: -9.5, value: -9.9697893215944771182e-21, derivative: -9.4690934738313833185e-20,
        term: 1.0494515075362607493e-21),
      ActivationReference(
        x: -7.0, value: -8.9586878072008450307e-12, derivative: -6.2663230314666318396e-11,
        term: 1.2798125438858350044e-12),
      ActivationReference(
        x: -5.25, value: -3.9926042711565749819e-7, derivative: -2.0913976638658620004e-6,
        term: 7.6049605164887142511e-8),
      ActivationReference(
        x: -3.875, value: -2.0658535528549833721e-4, derivative: -7.9504774658677553011e-4,
        term: 5.3312349751096345086e-5),
      ActivationReference(
        x: -2.5, value: -1.5524163314440337917e-2, derivative: -3.7611085908145208238e-2,
        term: 6.209665325776135167e-3),
      ActivationReference(
        x: -1.75, value: -7.0103524511679908233e-2, derivative: -1.1092615108257805984e-1,
        term: 4.0059156863817090419e-2),
      ActivationReference(
        x: -1.28125, value: -1.281928222992018843e-1, derivative: -1.2489121085770094454e-1,
        term: 1.0005293447742586092e-1),
      ActivationReference(
        x: -1.0, value: -1.5865525393145705141e-1, derivative: -8.3315470587686298383e-2,
        term: 1.5865525393145705141e-1),
      ActivationReference(
        x: -0.75, value: -1.699705142826511495e-1, derivative: 7.7427826076489562831e-4,
        term: 2.2662735237686819933e-1),
      ActivationReference(
        x: -0.625, value: -1.6624095565543783269e-1, derivative: 6.0884923704716136021e-2,
        term: 2.6598552904870053231e-1),
      ActivationReference(
        x: -0.5, value: -1.5426876936299344818e-1, derivative: 1.3250487534383715747e-1,
        term: 3.0853753872598689636e-1),
      ActivationReference(
        x: -0.1875, value: -7.980643347076927629e-2, derivative: 3.5213601842174557575e-1,
        term: 4.2563431184410280688e-1),
      ActivationReference(
        x: -0.0078125, value: -3.8819007432746673402e-3, derivative: 4.937666536873215348e-1,
        term: 4.9688329513915741955e-1),
      ActivationReference(
        x: -1.52587890625e-05, value: -7.6293016452620769963e-6, derivative: 4.9998782524779142851e-1,
        term: 4.9999391262389547803e-1),
      ActivationReference(
        x: -9.313225746154785e-10, value: -4.6566128696171198813e-10, derivative: 4.9999999925691209659e-1,
        term: 4.9999999962845604829e-1),
      ActivationReference(
        x: 9.313225746154785e-10, value: 4.656612876537665275e-10, derivative: 5.0000000074308790341e-1,
        term: 5.0000000037154395171e-1),
      ActivationReference(
        x: 1.52587890625e-05, value: 7.6294874172379230037e-6, derivative: 5.0001217475220857149e-1,
        term: 5.0000608737610452197e-1),
      ActivationReference(
        x: 0.0078125, value: 3.9305992567253326598e-3, derivative: 5.062333463126784652e-1,
        term: 5.0311670486084258045e-1),
      ActivationReference(
        x: 0.1875, value: 1.0769356652923072371e-1, derivative: 6.4786398157825442425e-1,
        term: 5.7436568815589719312e-1),
      ActivationReference(
        x: 0.5, value: 3.4573123063700655182e-1, derivative: 8.6749512465616284253e-1,
        term: 6.9146246127401310364e-1),
      ActivationReference(
        x: 0.59375, value: 4.2967332225401836308e-1, derivative: 9.2225189969794561321e-1,
        term: 7.2366033221729408519e-1),
      ActivationReference(
        x: 0.625, value: 4.5875904434456216731e-1, derivative: 9.3911507629528386398e-1,
        term: 7.3401447095129946769e-1),
      ActivationReference(
        x: 0.6875, value: 5.1845485286357025049e-1, derivative: 9.7066045522552144854e-1,
        term: 7.5411614961973854617e-1),
      ActivationReference(
        x: 1.0, value: 8.4134474606854294859e-1, derivative: 1.0833154705876862984,
        term: 8.4134474606854294859e-1),
      ActivationReference(
        x: 1.65625, value: 1.5753660362883517185, derivative: 1.1187996890232746413,
        term: 9.5116439926843877342e-1),
      ActivationReference(
        x: 1.6875, value: 1.6102907578770618719, derivative: 1.1163501578156376624,
        term: 9.5424637503825888703e-1),
      ActivationReference(
        x: 2.0, value: 1.9544997361036415856, derivative: 1.0852318010781968967,
        term: 9.772498680518207928e-1),
      ActivationReference(
        x: 3.0, value: 2.9959503059051097164, derivative: 1.011945647204183927,
        term: 9.9865010196836990547e-1),
      ActivationReference(
        x: 4.5, value: 4.4999847104709387147, derivative: 1.0000685291618563446,
        term: 9.9999660232687526994e-1),
      ActivationReference(
        x: 7.0, value: 6.9999999999910413122, derivative: 1.0000000000626632303,
        term: 9.9999999999872018746e-1),
      ActivationReference(
        x: 11.0, value: 1.1e+1, derivative: 1.0,
        term: 1.0),
      ActivationReference(
        x: 19.0, value: 1.9e+1, derivative: 1.0,
        term: 1.0),
      ActivationReference(
        x: 20.0, value: 2.0e+1, derivative: 1.0,
        term: 1.0),
    ]
  ),
  (
    CK_GELU_TANH,
    [
      ActivationReference(
        x: -19.0, value: -3.6102852236777353864e-225, derivative: -2.8456413831822844742e-223,
        term: 1.9001501177251238876e-226),
      ActivationReference(
        x: -12.75, value: -1.0947005249781957037e-72, derivative: -3.9755351940745235853e-71,
        term: 8.5858864704172212054e-74),
      ActivationReference(
        x: -9.5, value: -6.6789287667838819994e-33, derivative: -1.3898732192332610911e-31,
        term: 7.0304513334567178941e-34),
      ActivationReference(
        x: -7.0, value: -2.3154422620725489632e-15, derivative: -2.7651173507066019242e-14,
        term: 3.307774660103641376e-16),
      ActivationReference(
        x: -5.25, value: -3.9584638214958291984e-8, derivative: -2.8918336744386919482e-7,
        term: 7.5399310885634841874e-9),
      ActivationReference(
        x: -3.875, value: -1.2578818306672835317e-4, derivative: -5.7257019299734348269e-4,
        term: 3.2461466597865381463e-5),
      ActivationReference(
        x: -2.5, value: -1.5084266089998582079e-2, derivative: -3.7951576212666182634e-2,
        term: 6.0337064359994328318e-3),
      ActivationReference(
        x: -1.75, value: -7.0204617658748672969e-2, derivative: -1.1159698138720290726e-1,
        term: 4.0116924376427813125e-2),
      ActivationReference(
        x: -1.28125, value: -1.284210411648024097e-1, derivative: -1.2476388945498046184e-1,
        term: 1.0023105651887017343e-1),
      ActivationReference(
        x: -1.0, value: -1.5880800939172329522e-1, derivative: -8.296408384578255514e-2,
        term: 1.5880800939172329522e-1),
      ActivationReference(
        x: -0.75, value: -1.7003944483437969582e-1, derivative: 1.0617438625857023423e-3,
        term: 2.2671925977917292775e-1),
      ActivationReference(
        x: -0.625, value: -1.6627885004239948048e-1, derivative: 6.1091962613294769494e-2,
        term: 2.6604616006783916877e-1),
      ActivationReference(
        x: -0.5, value: -1.5428599017485607796e-1, derivative: 1.3263009646535768844e-1,
        term: 3.0857198034971215592e-1),
      ActivationReference(
        x: -0.1875, value: -7.980683040021047057e-2, derivative: 3.5214438238602860931e-1,
        term: 4.2563642880112250971e-1),
      ActivationReference(
        x: -0.0078125, value: -3.8819007445005977731e-3, derivative: 4.937666543149846455e-1,
        term: 4.9688329529607651496e-1),
      ActivationReference(
        x: -1.52587890625e-05, value: -7.6293016452620770142e-6, derivative: 4.9998782524779143318e-1,
        term: 4.999939126238954792e-1),
      ActivationReference(
        x: -9.313225746154785e-10, value: -4.6566128696171198813e-10, derivative: 4.9999999925691209659e-1,
        term: 4.9999999962845604829e-1),
      ActivationReference(
        x: 9.313225746154785e-10, value: 4.656612876537665275e-10, derivative: 5.0000000074308790341e-1,
        term: 5.0000000037154395171e-1),
      ActivationReference(
        x: 1.52587890625e-05, value: 7.6294874172379229858e-6, derivative: 5.0001217475220856682e-1,
        term: 5.000060873761045208e-1),
      ActivationReference(
        x: 0.0078125, value: 3.9305992554994022269e-3, derivative: 5.062333456850153545e-1,
        term: 5.0311670470392348504e-1),
      ActivationReference(
        x: 0.1875, value: 1.0769316959978952943e-1, derivative: 6.4785561761397139069e-1,
        term: 5.7436357119887749029e-1),
      ActivationReference(
        x: 0.5, value: 3.4571400982514392204e-1, derivative: 8.6736990353464231156e-1,
        term: 6.9142801965028784408e-1),
      ActivationReference(
        x: 0.59375, value: 4.2964156714047816774e-1, derivative: 9.2206600697169932123e-1,
        term: 7.2360684992080533515e-1),
      ActivationReference(
        x: 0.625, value: 4.5872114995760051952e-1, derivative: 9.3890803738670523051e-1,
        term: 7.3395383993216083123e-1),
      ActivationReference(
        x: 0.6875, value: 5.184027048205460991e-1, derivative: 9.7041164900273634211e-1,
        term: 7.5404029792079432597e-1),
      ActivationReference(
        x: 1.0, value: 8.4119199060827670478e-1, derivative: 1.0829640838457825551,
        term: 8.4119199060827670478e-1),
      ActivationReference(
        x: 1.65625, value: 1.5752086589565472848, derivative: 1.1193248430358603848,
        term: 9.5106937899263232291e-1),
      ActivationReference(
        x: 1.6875, value: 1.6101506054918454141, derivative: 1.116926954614049426,
        term: 9.5416332177294543059e-1),
      ActivationReference(
        x: 2.0, value: 1.9545976940877750188, derivative: 1.0860992566236183816,
        term: 9.7729884704388750939e-1),
      ActivationReference(
        x: 3.0, value: 2.9963626079182269812, derivative: 1.0115841666309697262,
        term: 9.9878753597274232705e-1),
      ActivationReference(
        x: 4.5, value: 4.4999948632625880414, derivative: 1.0000293222704427551,
        term: 9.9999885850279734252e-1),
      ActivationReference(
        x: 7.0, value: 6.9999999999999976846, derivative: 1.0000000000000276512,
        term: 9.9999999999999966922e-1),
      ActivationReference(
        x: 11.0, value: 1.1e+1, derivative: 1.0,
        term: 1.0),
      ActivationReference(
        x: 19.0, value: 1.9e+1, derivative: 1.0,
        term: 1.0),
      ActivationReference(
        x: 20.0, value: 2.0e+1, derivative: 1.0,
        term: 1.0),
    ]
  ),
  (
    CK_SILU,
    [
      ActivationReference(
        x: -37.5, value: -1.9408331271757006001e-15, derivative: -1.889077577117681817e-15,
        term: 5.175555005801868267e-17),
      ActivationReference(
        x: -24.0, value: -9.0603229059277952241e-10, derivative: -8.6828094511720977099e-10,
        term: 3.7751345441365813434e-11),
      ActivationReference(
        x: -19.0, value: -1.0645313171677285611e-7, derivative: -1.0085033471419169251e-7,
        term: 5.6027964061459397954e-9),
      ActivationReference(
        x: -12.75, value: -3.7004477811441485944e-5, derivative: -3.4102058427690930383e-5,
        term: 2.9023119852110969368e-6),
      ActivationReference(
        x: -9.5, value: -7.110391613508066951e-4, derivative: -6.3613971524135604735e-4,
        term: 7.4846227510611231063e-5),
      ActivationReference(
        x: -7.0, value: -6.377358360804517505e-3, derivative: -5.4604970664521402497e-3,
        term: 9.1105119440064535786e-4),
      ActivationReference(
        x: -5.25, value: -2.7405659891181584792e-2, derivative: -2.2042473208276307873e-2,
        term: 5.2201256935583971032e-3),
      ActivationReference(
        x: -3.875, value: -7.8787869202802672072e-2, derivative: -5.6853573064397352373e-2,
        term: 2.0332353342658754083e-2),
      ActivationReference(
        x: -2.5, value: -1.8964545005310887798e-1, derivative: -9.9401111341526841138e-2,
        term: 7.5858180021243551193e-2),
      ActivationReference(
        x: -1.75, value: -2.5908259655545657199e-1, derivative: -7.2678946044957115092e-2,
        term: 1.4804719803168946971e-1),
      ActivationReference(
        x: -1.28125, value: -2.7846369884154878924e-1, derivative: -6.0556778666834456069e-4,
        term: 2.1733752104706246965e-1),
      ActivationReference(
        x: -1.0, value: -2.6894142136999512075e-1, derivative: 7.2329488128513268211e-2,
        term: 2.6894142136999512075e-1),
      ActivationReference(
        x: -0.75, value: -2.4061597561845527013e-1, derivative: 1.5740005550324650473e-1,
        term: 3.2082130082460702684e-1),
      ActivationReference(
        x: -0.625, value: -2.1790320958371609774e-1, derivative: 2.0671281974524550348e-1,
        term: 3.4864513533394575638e-1),
      ActivationReference(
        x: -0.5, value: -1.8877033439907271768e-1, derivative: 2.6003881269734819083e-1,
        term: 3.7754066879814543536e-1),
      ActivationReference(
        x: -0.1875, value: -8.4986596502884900028e-2, derivative: 4.0679643329993679569e-1,
        term: 4.5326184801538613348e-1),
      ActivationReference(
        x: -0.0078125, value: -3.8909912885472408591e-3, derivative: 4.9609378973606605538e-1,
        term: 4.9804688493404682996e-1),
      ActivationReference(
        x: -1.52587890625e-05, value: -7.629336323589087662e-6, derivative: 4.9999237060546904606e-1,
        term: 4.9999618530273444901e-1),
      ActivationReference(
        x: -9.313225746154785e-10, value: -4.6566128709089882332e-10, derivative: 4.9999999953433871269e-1,
        term: 4.9999999976716935635e-1),
      ActivationReference(
        x: 9.313225746154785e-10, value: 4.6566128752457969231e-10, derivative: 5.0000000046566128731e-1,
        term: 5.0000000023283064365e-1),
      ActivationReference(
        x: 1.52587890625e-05, value: 7.629452738910912338e-6, derivative: 5.0000762939453095394e-1,
        term: 5.0000381469726555099e-1),
      ActivationReference(
        x: 0.0078125, value: 3.9215087114527591409e-3, derivative: 5.0390621026393394462e-1,
        term: 5.0195311506595317004e-1),
      ActivationReference(
        x: 0.1875, value: 1.0251340349711509997e-1, derivative: 5.9320356670006320431e-1,
        term: 5.4673815198461386652e-1),
      ActivationReference(
        x: 0.5, value: 3.1122966560092728232e-1, derivative: 7.3996118730265180917e-1,
        term: 6.2245933120185456464e-1),
      ActivationReference(
        x: 0.59375, value: 3.8250865697628198242e-1, derivative: 7.8031208319014813403e-1,
        term: 6.442251064863696546e-1),
      ActivationReference(
        x: 0.625, value: 4.0709679041628390226e-1, derivative: 7.9328718025475449652e-1,
        term: 6.5135486466605424362e-1),
      ActivationReference(
        x: 0.6875, value: 4.5746975913843462782e-1, derivative: 8.184751098471724244e-1,
        term: 6.654105587468140041e-1),
      ActivationReference(
        x: 1.0, value: 7.3105857863000487925e-1, derivative: 9.2767051187148673179e-1,
        term: 7.3105857863000487925e-1),
      ActivationReference(
        x: 1.65625, value: 1.3908093839571463389, derivative: 1.0626334693632682594,
        term: 8.3973396767223929894e-1),
      ActivationReference(
        x: 1.6875, value: 1.424072985560790625, derivative: 1.0661998699203561605,
        term: 8.4389510255454259259e-1),
      ActivationReference(
        x: 2.0, value: 1.7615941559557648881, derivative: 1.0907842487848954788,
        term: 8.8079707797788244406e-1),
      ActivationReference(
        x: 3.0, value: 2.8577223804672996574, derivative: 1.0881041060151696171,
        term: 9.5257412682243321912e-1),
      ActivationReference(
        x: 4.5, value: 4.4505587581623306898, derivative: 1.0379110911194203741,
        term: 9.8901305736940681996e-1),
      ActivationReference(
        x: 7.0, value: 6.9936226416391954825, derivative: 1.0054604970664521402,
        term: 9.9908894880559935464e-1),
      ActivationReference(
        x: 11.0, value: 1.0999816284359670953e+1, derivative: 1.0001670111501685426,
        term: 9.9998329857815190482e-1),
      ActivationReference(
        x: 19.0, value: 1.8999999893546868283e+1, derivative: 1.0000001008503347142,
        term: 9.9999999439720359385e-1),
      ActivationReference(
        x: 20.0, value: 1.9999999958776927636e+1, derivative: 1.0000000391619186606,
        term: 9.9999999793884638181e-1),
    ]
  ),
  (
    CK_TANH,
    [
      ActivationReference(
        x: -37.5, value: -1.0, derivative: 1.0714547847232311777e-32,
        term: 0.0),
      ActivationReference(
        x: -24.0, value: -1.0, derivative: 5.7006563309637404251e-21,
        term: 0.0),
      ActivationReference(
        x: -19.0, value: -9.9999999999999993722e-1, derivative: 1.2556531168192117727e-16,
        term: 0.0),
      ActivationReference(
        x: -12.75, value: -9.9999999998315307249e-1, derivative: 3.3693855017306951691e-11,
        term: 0.0),
      ActivationReference(
        x: -9.5, value: -9.9999998879440718771e-1, derivative: 2.2411185499018448907e-8,
        term: 0.0),
      ActivationReference(
        x: -7.0, value: -9.9999833694394467174e-1, derivative: 3.3261093449010854032e-6,
        term: 0.0),
      ActivationReference(
        x: -5.25, value: -9.9994492861777083306e-1, derivative: 1.1013973160119325238e-4,
        term: 0.0),
      ActivationReference(
        x: -3.875, value: -9.9913888583735077016e-1, derivative: 1.721486807697344593e-3,
        term: 0.0),
      ActivationReference(
        x: -2.5, value: -9.8661429815143028888e-1, derivative: 2.6592226683160619656e-2,
        term: 0.0),
      ActivationReference(
        x: -1.75, value: -9.4137553849728736227e-1, derivative: 1.1381209551894223936e-1,
        term: 0.0),
      ActivationReference(
        x: -1.28125, value: -8.5681760111089505757e-1, derivative: 2.658635984265711246e-1,
        term: 0.0),
      ActivationReference(
        x: -1.0, value: -7.6159415595576488812e-1, derivative: 4.1997434161402606939e-1,
        term: 0.0),
      ActivationReference(
        x: -0.75, value: -6.3514895238728731921e-1, derivative: 5.9658580828133142601e-1,
        term: 0.0),
      ActivationReference(
        x: -0.625, value: -5.54599722349382294e-1, derivative: 6.9241914796998806963e-1,
        term: 0.0),
      ActivationReference(
        x: -0.5, value: -4.621171572600097585e-1, derivative: 7.8644773296592741015e-1,
        term: 0.0),
      ActivationReference(
        x: -0.1875, value: -1.8533319990813951753e-1, derivative: 9.6565160501180959433e-1,
        term: 0.0),
      ActivationReference(
        x: -0.0078125, value: -7.8123410581610138214e-3, derivative: 9.9993896732719097165e-1,
        term: 0.0),
      ActivationReference(
        x: -1.52587890625e-05, value: -1.5258789061315762107e-5, derivative: 9.9999999976716935638e-1,
        term: 0.0),
      ActivationReference(
        x: -9.313225746154785e-10, value: -9.3132257461547851536e-10, derivative: 9.9999999999999999913e-1,
        term: 0.0),
      ActivationReference(
        x: 9.313225746154785e-10, value: 9.3132257461547851536e-10, derivative: 9.9999999999999999913e-1,
        term: 0.0),
      ActivationReference(
        x: 1.52587890625e-05, value: 1.5258789061315762107e-5, derivative: 9.9999999976716935638e-1,
        term: 0.0),
      ActivationReference(
        x: 0.0078125, value: 7.8123410581610138214e-3, derivative: 9.9993896732719097165e-1,
        term: 0.0),
      ActivationReference(
        x: 0.1875, value: 1.8533319990813951753e-1, derivative: 9.6565160501180959433e-1,
        term: 0.0),
      ActivationReference(
        x: 0.5, value: 4.621171572600097585e-1, derivative: 7.8644773296592741015e-1,
        term: 0.0),
      ActivationReference(
        x: 0.59375, value: 5.3258728617191945121e-1, derivative: 7.1635078260802997611e-1,
        term: 0.0),
      ActivationReference(
        x: 0.625, value: 5.54599722349382294e-1, derivative: 6.9241914796998806963e-1,
        term: 0.0),
      ActivationReference(
        x: 0.6875, value: 5.9637355547924233984e-1, derivative: 6.4433858232504705893e-1,
        term: 0.0),
      ActivationReference(
        x: 1.0, value: 7.6159415595576488812e-1, derivative: 4.1997434161402606939e-1,
        term: 0.0),
      ActivationReference(
        x: 1.65625, value: 9.2971030719841347269e-1, derivative: 1.3563874468903164974e-1,
        term: 0.0),
      ActivationReference(
        x: 1.6875, value: 9.3382804322259173764e-1, derivative: 1.2796518569106533746e-1,
        term: 0.0),
      ActivationReference(
        x: 2.0, value: 9.6402758007581688395e-1, derivative: 7.0650824853164465686e-2,
        term: 0.0),
      ActivationReference(
        x: 3.0, value: 9.9505475368673045133e-1, derivative: 9.8660371654401912732e-3,
        term: 0.0),
      ActivationReference(
        x: 4.5, value: 9.9975321084802753654e-1, derivative: 4.9351739905939563132e-4,
        term: 0.0),
      ActivationReference(
        x: 7.0, value: 9.9999833694394467174e-1, derivative: 3.3261093449010854032e-6,
        term: 0.0),
      ActivationReference(
        x: 11.0, value: 9.9999999944210638158e-1, derivative: 1.1157872365250793441e-9,
        term: 0.0),
      ActivationReference(
        x: 19.0, value: 9.9999999999999993722e-1, derivative: 1.2556531168192117727e-16,
        term: 0.0),
      ActivationReference(
        x: 20.0, value: 9.999999999999999915e-1, derivative: 1.6993417021166355837e-17,
        term: 0.0),
    ]
  ),
  (
    CK_SIGMOID,
    [
      ActivationReference(
        x: -37.5, value: 5.175555005801868267e-17, derivative: 5.1755550058018679991e-17,
        term: 0.0),
      ActivationReference(
        x: -24.0, value: 3.7751345441365813434e-11, derivative: 3.7751345439940649351e-11,
        term: 0.0),
      ActivationReference(
        x: -19.0, value: 5.6027964061459397954e-9, derivative: 5.6027963747546122267e-9,
        term: 0.0),
      ActivationReference(
        x: -12.75, value: 2.9023119852110969368e-6, derivative: 2.9023035617962374368e-6,
        term: 0.0),
      ActivationReference(
        x: -9.5, value: 7.4846227510611231063e-5, derivative: 7.4840625552838660886e-5,
        term: 0.0),
      ActivationReference(
        x: -7.0, value: 9.1105119440064535786e-4, derivative: 9.1022118012182651536e-4,
        term: 0.0),
      ActivationReference(
        x: -5.25, value: 5.2201256935583971032e-3, derivative: 5.1928759813018485668e-3,
        term: 0.0),
      ActivationReference(
        x: -3.875, value: 2.0332353342658754083e-2, derivative: 1.9918948750208027472e-2,
        term: 0.0),
      ActivationReference(
        x: -2.5, value: 7.5858180021243551193e-2, derivative: 7.0103716545108156932e-2,
        term: 0.0),
      ActivationReference(
        x: -1.75, value: 1.4804719803168946971e-1, derivative: 1.2612922518665519131e-1,
        term: 0.0),
      ActivationReference(
        x: -1.28125, value: 2.1733752104706246965e-1, derivative: 1.7010192299218014767e-1,
        term: 0.0),
      ActivationReference(
        x: -1.0, value: 2.6894142136999512075e-1, derivative: 1.9661193324148185254e-1,
        term: 0.0),
      ActivationReference(
        x: -0.75, value: 3.2082130082460702684e-1, derivative: 2.1789499376181402948e-1,
        term: 0.0),
      ActivationReference(
        x: -0.625, value: 3.4864513533394575638e-1, derivative: 2.2709170494192040464e-1,
        term: 0.0),
      ActivationReference(
        x: -0.5, value: 3.7754066879814543536e-1, derivative: 2.3500371220159448907e-1,
        term: 0.0),
      ActivationReference(
        x: -0.1875, value: 4.5326184801538613348e-1, derivative: 2.4781554514906313489e-1,
        term: 0.0),
      ActivationReference(
        x: -0.0078125, value: 4.9804688493404682996e-1, derivative: 2.4999618534153914674e-1,
        term: 0.0),
      ActivationReference(
        x: -1.52587890625e-05, value: 4.9999618530273444901e-1, derivative: 2.4999999998544808477e-1,
        term: 0.0),
      ActivationReference(
        x: -9.313225746154785e-10, value: 4.9999999976716935635e-1, derivative: 2.4999999999999999995e-1,
        term: 0.0),
      ActivationReference(
        x: 9.313225746154785e-10, value: 5.0000000023283064365e-1, derivative: 2.4999999999999999995e-1,
        term: 0.0),
      ActivationReference(
        x: 1.52587890625e-05, value: 5.0000381469726555099e-1, derivative: 2.4999999998544808477e-1,
        term: 0.0),
      ActivationReference(
        x: 0.0078125, value: 5.0195311506595317004e-1, derivative: 2.4999618534153914674e-1,
        term: 0.0),
      ActivationReference(
        x: 0.1875, value: 5.4673815198461386652e-1, derivative: 2.4781554514906313489e-1,
        term: 0.0),
      ActivationReference(
        x: 0.5, value: 6.2245933120185456464e-1, derivative: 2.3500371220159448907e-1,
        term: 0.0),
      ActivationReference(
        x: 0.59375, value: 6.442251064863696546e-1, derivative: 2.2919911865899533378e-1,
        term: 0.0),
      ActivationReference(
        x: 0.625, value: 6.5135486466605424362e-1, derivative: 2.2709170494192040464e-1,
        term: 0.0),
      ActivationReference(
        x: 0.6875, value: 6.654105587468140041e-1, derivative: 2.2263934705506679316e-1,
        term: 0.0),
      ActivationReference(
        x: 1.0, value: 7.3105857863000487925e-1, derivative: 1.9661193324148185254e-1,
        term: 0.0),
      ActivationReference(
        x: 1.65625, value: 8.3973396767223929894e-1, derivative: 1.3458083120967786294e-1,
        term: 0.0),
      ActivationReference(
        x: 1.6875, value: 8.4389510255454259259e-1, derivative: 1.3173615843900063281e-1,
        term: 0.0),
      ActivationReference(
        x: 2.0, value: 8.8079707797788244406e-1, derivative: 1.0499358540350651735e-1,
        term: 0.0),
      ActivationReference(
        x: 3.0, value: 9.5257412682243321912e-1, derivative: 4.5176659730912132649e-2,
        term: 0.0),
      ActivationReference(
        x: 4.5, value: 9.8901305736940681996e-1, derivative: 1.0866229722225234252e-2,
        term: 0.0),
      ActivationReference(
        x: 7.0, value: 9.9908894880559935464e-1, derivative: 9.1022118012182651536e-4,
        term: 0.0),
      ActivationReference(
        x: 11.0, value: 9.9998329857815190482e-1, derivative: 1.6701142910603432724e-5,
        term: 0.0),
      ActivationReference(
        x: 19.0, value: 9.9999999439720359385e-1, derivative: 5.6027963747546122267e-9,
        term: 0.0),
      ActivationReference(
        x: 20.0, value: 9.9999999793884638181e-1, derivative: 2.0611536139418493437e-9,
        term: 0.0),
    ]
  ),
  (
    CK_SOFTPLUS,
    [
      ActivationReference(
        x: -37.5, value: 5.1755550058018684009e-17, derivative: 5.175555005801868267e-17,
        term: 0.0),
      ActivationReference(
        x: -24.0, value: 3.7751345442078395475e-11, derivative: 3.7751345441365813434e-11,
        term: 0.0),
      ActivationReference(
        x: -19.0, value: 5.6027964218416036384e-9, derivative: 5.6027964061459397954e-9,
        term: 0.0),
      ActivationReference(
        x: -12.75, value: 2.9023161969266758305e-6, derivative: 2.9023119852110969368e-6,
        term: 0.0),
      ActivationReference(
        x: -9.5, value: 7.4849028629267164088e-5, derivative: 7.4846227510611231063e-5,
        term: 0.0),
      ActivationReference(
        x: -7.0, value: 9.114664537742446917e-4, derivative: 9.1105119440064535786e-4,
        term: 0.0),
      ActivationReference(
        x: -5.25, value: 5.2337981517430317827e-3, derivative: 5.2201256935583971032e-3,
        term: 0.0),
      ActivationReference(
        x: -3.875, value: 2.0541900901096907877e-2, derivative: 2.0332353342658754083e-2,
        term: 0.0),
      ActivationReference(
        x: -2.5, value: 7.8889734292549623344e-2, derivative: 7.5858180021243551193e-2,
        term: 0.0),
      ActivationReference(
        x: -1.75, value: 1.6022415043808722689e-1, derivative: 1.4804719803168946971e-1,
        term: 0.0),
      ActivationReference(
        x: -1.28125, value: 2.4505373728777821105e-1, derivative: 2.1733752104706246965e-1,
        term: 0.0),
      ActivationReference(
        x: -1.0, value: 3.1326168751822283405e-1, derivative: 2.6894142136999512075e-1,
        term: 0.0),
      ActivationReference(
        x: -0.75, value: 3.8687100611489994367e-1, derivative: 3.2082130082460702684e-1,
        term: 0.0),
      ActivationReference(
        x: -0.625, value: 4.2870067827651863721e-1, derivative: 3.4864513533394575638e-1,
        term: 0.0),
      ActivationReference(
        x: -0.5, value: 4.7407698418010668087e-1, derivative: 3.7754066879814543536e-1,
        term: 0.0),
      ActivationReference(
        x: -0.1875, value: 6.0378528955559474826e-1, derivative: 4.5326184801538613348e-1,
        term: 0.0),
      ActivationReference(
        x: -0.0078125, value: 6.8924855993507408473e-1, derivative: 4.9804688493404682996e-1,
        term: 0.0),
      ActivationReference(
        x: -1.52587890625e-05, value: 6.9313955119451788987e-1, derivative: 4.9999618530273444901e-1,
        term: 0.0),
      ActivationReference(
        x: -9.313225746154785e-10, value: 6.9314718009428402222e-1, derivative: 4.9999999976716935635e-1,
        term: 0.0),
      ActivationReference(
        x: 9.313225746154785e-10, value: 6.9314718102560659683e-1, derivative: 5.0000000023283064365e-1,
        term: 0.0),
      ActivationReference(
        x: 1.52587890625e-05, value: 6.9315480998358038987e-1, derivative: 5.0000381469726555099e-1,
        term: 0.0),
      ActivationReference(
        x: 0.0078125, value: 6.9706105993507408473e-1, derivative: 5.0195311506595317004e-1,
        term: 0.0),
      ActivationReference(
        x: 0.1875, value: 7.9128528955559474826e-1, derivative: 5.4673815198461386652e-1,
        term: 0.0),
      ActivationReference(
        x: 0.5, value: 9.7407698418010668087e-1, derivative: 6.2245933120185456464e-1,
        term: 0.0),
      ActivationReference(
        x: 0.59375, value: 1.0334570697206435921, derivative: 6.442251064863696546e-1,
        term: 0.0),
      ActivationReference(
        x: 0.625, value: 1.0537006782765186372, derivative: 6.5135486466605424362e-1,
        term: 0.0),
      ActivationReference(
        x: 0.6875, value: 1.0948510472537264833, derivative: 6.654105587468140041e-1,
        term: 0.0),
      ActivationReference(
        x: 1.0, value: 1.313261687518222834, derivative: 7.3105857863000487925e-1,
        term: 0.0),
      ActivationReference(
        x: 1.65625, value: 1.8309201424585417595, derivative: 8.3973396767223929894e-1,
        term: 0.0),
      ActivationReference(
        x: 1.6875, value: 1.8572270781831507288, derivative: 8.4389510255454259259e-1,
        term: 0.0),
      ActivationReference(
        x: 2.0, value: 2.1269280110429724964, derivative: 8.8079707797788244406e-1,
        term: 0.0),
      ActivationReference(
        x: 3.0, value: 3.0485873515737420588, derivative: 9.5257412682243321912e-1,
        term: 0.0),
      ActivationReference(
        x: 4.5, value: 4.5110477448485938163, derivative: 9.8901305736940681996e-1,
        term: 0.0),
      ActivationReference(
        x: 7.0, value: 7.0009114664537742447, derivative: 9.9908894880559935464e-1,
        term: 0.0),
      ActivationReference(
        x: 11.0, value: 1.1000016701561318394e+1, derivative: 9.9998329857815190482e-1,
        term: 0.0),
      ActivationReference(
        x: 19.0, value: 1.9000000005602796422e+1, derivative: 9.9999999439720359385e-1,
        term: 0.0),
      ActivationReference(
        x: 20.0, value: 2.000000000206115362e+1, derivative: 9.9999999793884638181e-1,
        term: 0.0),
    ]
  ),
]

struct CrossEntropyReference {
  var logits: [Double]
  var label: Int64
  var loss, rest, certificate, fisherQuadratic, gradientDot: Double
}

/// Quadratic and dot product are those of q = (1, -2, 0.5, 3), exact.
let crossEntropyReferences: [CrossEntropyReference] = [
  CrossEntropyReference(
    logits: [0.5, -1.25, 2.0, 0.75], label: 2, loss: 4.3722805861390255993e-1,
    rest: 3.5417587114119734104e-1, certificate: 5.4840916484034193915e-1,
    fisherQuadratic: 1.1261722802198736573,
    gradientDot: 4.7202740027746356045e-1),
  CrossEntropyReference(
    logits: [0.5, -1.25, 2.0, 0.75], label: 1, loss: 3.6872280586139025599,
    rest: 9.7495868100488796944e-1, certificate: 3.8933998692129442753e+1,
    fisherQuadratic: 1.1261722802198736573,
    gradientDot: 2.9720274002774635605),
  CrossEntropyReference(
    logits: [46.0, 0.0, -3.0, -10.5], label: 0, loss: 1.1055195899701646621e-20,
    rest: 1.1055195899701646621e-20, certificate: 1.1055195899701646621e-20,
    fisherQuadratic: 9.49077882628143494e-20,
    gradientDot: -3.1853416404206634635e-20),
  CrossEntropyReference(
    logits: [46.0, 0.0, -3.0, -10.5], label: 3, loss: 5.65e+1,
    rest: 1.0, certificate: 3.4485635021385366422e+24,
    fisherQuadratic: 9.49077882628143494e-20,
    gradientDot: -2.0),
  CrossEntropyReference(
    logits: [700.0, -20.0, 0.0, -30.0], label: 0, loss: 9.8596765640830015123e-305,
    rest: 9.8596765640830015123e-305, certificate: 9.8596765640830015123e-305,
    fisherQuadratic: 2.4649193188444054578e-305,
    gradientDot: -4.9298383328449642384e-305),
  CrossEntropyReference(
    logits: [-600.0, 20.0, 0.0, 3.0], label: 0, loss: 6.2000000004346052987e+2,
    rest: 1.0, certificate: 1.8305382111419388409e+269,
    fisherQuadratic: 1.0478665492881732479e-6,
    gradientDot: -2.9999997878502392248),
  CrossEntropyReference(
    logits: [27.625, 0.0, -90.0, 0.0], label: 0, loss: 2.0120785585646094848e-12,
    rest: 2.0120785585625852547e-12, certificate: 2.0120785585666337148e-12,
    fisherQuadratic: 1.3078510630655792041e-11,
    gradientDot: -1.0060392792812926274e-12),
  CrossEntropyReference(
    logits: [1.0, 1.0, 1.0, 1.0], label: 3, loss: 1.3862943611198906188,
    rest: 7.5e-1, certificate: 3.0,
    fisherQuadratic: 3.171875,
    gradientDot: -2.375),
  CrossEntropyReference(
    logits: [1e-09, 0.0, -40.0, -40.0], label: 1, loss: 6.9314718105994531379e-1,
    rest: 5.0000000025000000212e-1, certificate: 1.000000001000000009,
    fisherQuadratic: 2.250000000000000018,
    gradientDot: 1.5000000007500000096),
  CrossEntropyReference(
    logits: [-1000.0, -1030.0, -1031.0, -1028.5], label: 0, loss: 5.4738056661090614042e-13,
    rest: 5.4738056661075632768e-13, certificate: 5.4738056661105595316e-13,
    fisherQuadratic: 2.5283105233169319935e-12,
    gradientDot: 5.4081805706805773132e-13),
]
