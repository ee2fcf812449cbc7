//! RFC 2409's key schedule. The expected values of [`Known`] come from a Python program that spells out the formulas of
//! section 5 and appendix B with the `hmac` and `hashlib` modules and `pow`; SKEYID_d, _a, _e also from NIST's ACVP.

use super::hex;
use crate::crypto::{
    Cipher, CipherError, DhKey, Group, Hash, KeymatFor, Phase1Keys, Secret, Transcript, skeyid_psk,
    skeyid_signature,
};
use crate::wire::{Cookie, Protocol};

/// What the independent computation says, in hexadecimal.
struct Known {
    sk: &'static str,
    d: &'static str,
    a: &'static str,
    e: &'static str,
    key: &'static str,
    hi: &'static str,
    hr: &'static str,
    iv: &'static str,
    iv2: &'static str,
    h1: &'static str,
    h2: &'static str,
    h3: &'static str,
    km: &'static str,
    kmpfs: &'static str,
}

const MESSAGE_ID: u32 = 0xdead_beef;
const INITIATOR: Cookie = Cookie([1, 2, 3, 4, 5, 6, 7, 8]);
const RESPONDER: Cookie = Cookie([0x11, 0x12, 0x13, 0x14, 0x15, 0x16, 0x17, 0x18]);

fn check(cipher: Cipher, hash: Hash, group: Group, psk: Option<&[u8]>, known: &Known) {
    let x = DhKey::with_private(group, &(1..=32).collect::<Vec<u8>>());
    let y = DhKey::with_private(group, &(0x41..=0x60).collect::<Vec<u8>>());
    let gxy = x.agree(y.public()).unwrap();
    let (ni, nr): (Vec<u8>, Vec<u8>) = ((0..16).collect(), (100..116).collect());
    let skeyid = match psk {
        Some(psk) => skeyid_psk(hash, psk, &ni, &nr),
        None => skeyid_signature(hash, &ni, &nr, &gxy),
    };
    assert_eq!(skeyid.expose(), hex(known.sk));
    let keys = Phase1Keys::derive(cipher, hash, skeyid, &gxy, INITIATOR, RESPONDER);
    let [d, a, e, key] = keys.parts();
    assert_eq!(
        [d, a, e, key].map(Secret::expose),
        [known.d, known.a, known.e, known.key].map(hex)
    );

    let t = Transcript {
        gxi: x.public(),
        gxr: y.public(),
        sai_b: b"the SA payload body",
    };
    assert_eq!(keys.hash_i(&t, b"the initiator ID body"), hex(known.hi));
    assert_eq!(keys.hash_r(&t, b"the responder ID body"), hex(known.hr));
    let iv = keys.phase1_iv(x.public(), y.public());
    assert_eq!(iv.octets(), hex(known.iv));
    assert_eq!(keys.phase2_iv(&iv, MESSAGE_ID).octets(), hex(known.iv2));
    assert_eq!(keys.hash_1(MESSAGE_ID, b"payloads"), hex(known.h1));
    assert_eq!(keys.hash_2(MESSAGE_ID, &ni, b"payloads"), hex(known.h2));
    assert_eq!(keys.hash_3(MESSAGE_ID, &ni, &nr), hex(known.h3));

    let sa = KeymatFor {
        protocol: Protocol::ESP,
        spi: 0x1234_5678,
        ni_b: &ni,
        nr_b: &nr,
    };
    assert_eq!(keys.keymat(&sa, None, 44).expose(), hex(known.km));
    assert_eq!(keys.keymat(&sa, Some(&gxy), 52).expose(), hex(known.kmpfs));
    // AH's shorter key from the same SPI differs, and a shorter KEYMAT is the beginning of a longer one.
    assert_eq!(keys.keymat(&sa, None, 10).expose(), &hex(known.km)[..10]);
    let ah = keys.keymat(
        &KeymatFor {
            protocol: Protocol::AH,
            ..sa
        },
        None,
        20,
    );
    assert_ne!(ah.expose(), &hex(known.km)[..20]);
    assert_eq!(keys.keymat(&sa, None, 0).len(), 0);
}

const PSK: &[u8] = b"a secret shared by east and west";

#[test]
fn sha1_aes256_modp2048() {
    let psk = Known {
        sk: "5cedf6b470089f78c0c04f75ecb3838a65e7e6ce",
        d: "128ed91881af6e09a503b531c6f05a528a448c40",
        a: "f80bf37f53b7ac4ed6810161a95626361af1d771",
        e: "7eb6233b0a8a653f221738a09d1cb64763abc623",
        key: "52a65decea19f9312a1b100053f78adfc6c824f34f1bc7f6406b74347fdaf077",
        hi: "1d8f9d141cfd14fb2e67e200d5d7c2f0852d59e3",
        hr: "e83aee6f725bd16fe0c44e86c2b5de571eb48af1",
        iv: "6c9042ad2297a56911cf02efeb95bd5f",
        iv2: "324c85d517ad987b77910096c1b1b872",
        h1: "b122a33b6b96fa04277e0cc980811ef7d8a83ecf",
        h2: "db78b8396ccd50a261e87fb49b7a167495ec3665",
        h3: "910b9ef59c09d9de50092498e8095a3865cc1688",
        km: "55fac713f036596370bf448b2acd132454737d6d04afe917fa974400f79ec282436fd7f19487b8bacda70301",
        kmpfs: "b70f0a877ec58f1a2201c263c706b4ac131161965c5ebad54d76e631b218d964d042aa85c2343d5a02a2faf7be7c46f92d8030c7",
    };
    check(Cipher::AES256, Hash::SHA1, Group::MODP2048, Some(PSK), &psk);
    let signature = Known {
        sk: "f850717a7f664c5c527bd6c6f1301da89b45d38a",
        d: "047f024228591444f873e77c2bec0ca85a4e8ff8",
        a: "1d73d4d6616acca194234ecc3eff74d828b93c71",
        e: "e474b6484cb7be9147173ac57a21ef04bc24887c",
        key: "5b420da2bc764b0e1753cd1c73ebaaba71fa8fe7c01eea2d8ef05b2ef7f0f62b",
        hi: "a2d2ad7b21ba0a2d1f788ca853769c5bea8026a0",
        hr: "b07fc36db0594f8f7ba6f2255c7ae0df5a362d18",
        iv: "6c9042ad2297a56911cf02efeb95bd5f",
        iv2: "324c85d517ad987b77910096c1b1b872",
        h1: "e8e2f456d05f173576880722f9282520200c5320",
        h2: "d71c7dacfb8ee411b6dbb4137afadd732fba8c0a",
        h3: "271f131bd735db41b31daf0a90452c25bc1d59fb",
        km: "a926a38d464ef1ced0d752c78774f1ed2f44ce3bbfe38590f8feb02d52972b4c7d00be826db9d698865ce936",
        kmpfs: "7931b698d720fc35bea1c1ab8e7b2404b6a8f28a1a37fda9a775d8bf9cbbcae212a64025c842805a2feca4c3c63e2abd2f395a22",
    };
    check(
        Cipher::AES256,
        Hash::SHA1,
        Group::MODP2048,
        None,
        &signature,
    );
}

#[test]
fn md5_3des_modp1536() {
    let psk = Known {
        sk: "830a4946cb354003601c3205d6c6de14",
        d: "1c6b95e778e7c2887721df76736681dc",
        a: "43546eba6df8d93ecb28fac673d5e53e",
        e: "2cca113932992c4d195bfc644ca6d205",
        key: "03c03689db97b61f09a63e6b0f1f6b8ca817af016705b130",
        hi: "18e174a04192e3f82102d4a8287ed6df",
        hr: "ed45958d67144c94da7f3d9b9b5a8cf9",
        iv: "7264f522eb296b3f",
        iv2: "093c7968553a82f8",
        h1: "12bb81d14528e4ba1f08c25e2267f89a",
        h2: "a98f456d04c736273d5e3e08d5bfb244",
        h3: "dbb9b7993ec26ac3a88ac3c9d357e0a5",
        km: "e3a2a48502932556d5a6481d52da2b2285d7177720731d531ecf365521af31e0f73dc6e16b8029e8d8aba30a",
        kmpfs: "b6c4d155a2b7cbf0394748119b8dbf7a2133f5a1faceee33b1a1250631c6cecbde9149f1c3b2adf172e2055ffa37d0db1b45de77",
    };
    check(
        Cipher::TRIPLE_DES,
        Hash::MD5,
        Group::MODP1536,
        Some(PSK),
        &psk,
    );
    let signature = Known {
        sk: "fb259c17f5918cb62de3570eb1ba74a7",
        d: "cc11b493e4d6da730e3127baca166f44",
        a: "5ee256e7d083c07f156a716c8fb41e80",
        e: "5d54d5ee5a1cd34cdedbed0493f838a6",
        key: "46d6946c349ea0e033ef8a8a34846d5790beeddcd65d29ce",
        hi: "07945ba3e3e11cc95e1de766dbc933dd",
        hr: "55de211b6f1f1afca1ee33b6133578aa",
        iv: "7264f522eb296b3f",
        iv2: "093c7968553a82f8",
        h1: "18f662219fedce8498d85398bcec58ae",
        h2: "71cc5a940f971a4129eb4239d677d564",
        h3: "91b0aa9ab92b1fb38f0f30696320f9e2",
        km: "20ba7220ceb834badc2ac0606ba7b6bef0f84842f34c4b03ce576994bf8b0861c5476ce47f57bd5cffbd2ab2",
        kmpfs: "2034af4e32e276df733f90b9bbd6f3f0fbd3fad8ec19a433582f70bc88b90f3d4e9df32a5060a4b2e0e2a842006b42688fa7c003",
    };
    check(
        Cipher::TRIPLE_DES,
        Hash::MD5,
        Group::MODP1536,
        None,
        &signature,
    );
}

#[test]
fn nist_acvp_ikev1_sha1() {
    // NIST ACVP, kdf-components IKEv1 1.0, test group 1 (SHA-1, signatures), case 1. Its nonces are not whole octets, so
    // the derivation starts from SKEYID.
    let gxy = hex(
        "
         AE17FDAB7F7864E6EFDDF0C455D3D26C084F8A4D713D817D25675B4295288C5B84FB2BA63BE1CEDC8E05F9D08951DD6F
         D2CCFE3EDBCF10D9BE398C4D54F3ECE9AE7A163243A439068D661D81173FB7B1B4AF3582113AD59B2D6E4B75E75B42AC
         8711104103911F084E1078B16B3E4709AE74A9969F74FABEBB1AC462AD8817061788C05E4965265D46D5F60CF990B5F1
         D0F8FDFF615A35487059A629EF66DD441C724220301801AB730AF0D4BC6A186144B3C88ACC34785AA8F0774B119A6837
         AAB27612F2F9A59983CA33D9B4DD38E7A5B8C4579D88F793843519D5B28576A7E4A5B2F452BD1A080B6613C4C7FC8FC2
         C62AD087414DDC5DA7C9D00D01B000968EFBD643A0FE11754006A57AE59E5D54421A86B31B04A2BBE853F364335A0EB0
         E1F8622450D1DD4CDDEB8CE408C5B09A2D03671061E18FF01F27147D4AEE60CCEAAD3F95388A57A92BE794AAF5C2E2FD
         D03E539326F85E208E9BAFA87B0833719681A6EAC280D880968E08BF021D8CCFCF90857E60F64D90980216110BEE3833
         A696C88191B18D56BCB48A7489F623A5ACBB97B33CDA085E02379C50D79535210391B525C3388A6643C158695550C834
         52EEA640103BC55CBC8BBA1C18D018151DDFC5512A759353FBA7EE0136C4E9BD54B520EFAA5201C8E3E09A568C860D31
         C38F2E3F0D1CE973DE51931104A93C57E246A22602DCA44C1ED36E14E971A58FB8F2AB721CCC03F6DB23CC4F9E209C52
         F483C83215C6246F024A0B1112C496AAA13231A0FC31DBAA78B7EC264BA7962AE581D97F1C47C1EA92A7A4F7767CADC7
         4917F6354A81D3CE03E479D6B0B616A641818EC08CE0C198677C22CF00DF8FF28E9DDD614DD8AB73426660DEE02866B5
         77A4D6066E3C652779440EF6F5163564C359FF176B8D4B1788FCFDF2073BDD757217E63543524B8DB549EF98F034703F
         586819BD9ED9CD5DD91958BACA1A7069DDFE2A66558DCCDC179EF139EB2431E1B7C70C77A4BB749D7E3BC2102F622CA6
         82DABD2215270665E0BE7813774B999C2A881CF6C1F2439B203F8E5CF2AD9A90B1688484C05C69D3BECD6AE85695DD0C
         98B5BDC9F2DD0F065F7E7E7EFBC4324AA6CFA854573151E7520FD4D0F9A3199FBE8A2125F7415F59BDDCB51144BBE392
         9E638B6F349B96B9DAB40B5137CDE21490C239DF57D1AD323EDCF0EEEA2B9C5D610B9DDCB7A962F86978F6A5739D36AD
         CBA03DE018449E3C3F43189693FF31D15A7EEF6D7AADB4CDA35223F50DEC75577383EE1CFDF6DB5179188A6C77054A8D
         6D0492E8F5AA31B9BC3BD7F4961755C9AF909CDE8D9FD5EC67E518AC6771097B47BA0D62B624E710627BBCD3E3423692
         C4F1DD808192477A67480CDDBB9334780EBA37CCA91ABA8C101D70D41A3D3473C2D33F9CEA17367F87B77D71B0F82ED2
         4FD71017B6F965048DC798B711CE32E4",
    );
    let cookie = |text: &str| Cookie(hex(text).try_into().unwrap());
    let (ci, cr) = (cookie("D2EEC60F1E4853A8"), cookie("B9BDD5E96684501E"));
    let skeyid = Secret::new(hex("8D057AC0C79091B44F5909945B81322364C748C9"));
    let keys = Phase1Keys::derive(
        Cipher::AES128,
        Hash::SHA1,
        skeyid,
        &Secret::new(gxy),
        ci,
        cr,
    );
    let [d, a, e, key] = keys.parts();
    assert_eq!(d.expose(), hex("B47066F691781D6EEC56F8FB536DEF705C717644"));
    assert_eq!(a.expose(), hex("1296851B992A6FD85BC8E6931FB1454F1BBEFCE7"));
    assert_eq!(e.expose(), hex("1F440A614F4B3E108903C96CF187F85995152F62"));
    assert_eq!(key.expose(), &e.expose()[..16]);
}

#[test]
fn messages_chain_through_the_iv() {
    let secret = Secret::new(vec![9; 128]);
    for cipher in Cipher::all() {
        let skeyid = skeyid_psk(Hash::SHA1, PSK, &[1; 16], &[2; 16]);
        let keys = Phase1Keys::derive(cipher, Hash::SHA1, skeyid, &secret, INITIATOR, RESPONDER);
        let first = keys.phase1_iv(&[3; 128], &[4; 128]);
        let (mut out, mut back) = (first.clone(), first.clone());
        for round in 0..3u8 {
            let plain = vec![round; 48];
            let mut body = plain.clone();
            keys.encrypt(&mut out, &mut body).unwrap();
            assert_eq!(out.octets(), &body[48 - cipher.block_len()..]);
            let sealed = body.clone();
            keys.decrypt(&mut back, &mut body).unwrap();
            assert_eq!((body, &back), (plain, &out));
            assert_ne!(sealed, vec![round; 48]);
        }
        let refused = CipherError::NotBlocks {
            len: 47,
            block: cipher.block_len(),
        };
        assert_eq!(keys.decrypt(&mut back, &mut [0; 47]), Err(refused));
        assert!(keys.decrypt(&mut back, &mut []).is_err());
        assert_eq!(back, out, "a refused message leaves the IV alone");
        assert!(
            !format!("{keys:?}").contains("["),
            "no octets of keys in Debug"
        );
    }
}
