package com.example.licensing;

import static com.example.licensing.StrictJson.ANYTHING;
import static com.example.licensing.StrictJson.FLAG;
import static com.example.licensing.StrictJson.REFUSE;
import static com.example.licensing.StrictJson.TEXT;
import static com.example.licensing.StrictJson.damaged;
import static com.example.licensing.StrictJson.decode;
import static com.example.licensing.StrictJson.encode;
import static com.example.licensing.StrictJson.forged;
import static com.example.licensing.StrictJson.items;
import static com.example.licensing.StrictJson.members;
import static com.example.licensing.StrictJson.whole;

import com.example.licensing.StrictJson.Numeral;
import com.example.licensing.StrictJson.Obj;
import com.example.licensing.StrictJson.Refused;
import com.example.licensing.StrictJson.Shape;
import java.nio.charset.Charset;
import java.nio.charset.StandardCharsets;
import java.security.GeneralSecurityException;
import java.security.KeyFactory;
import java.security.MessageDigest;
import java.security.PublicKey;
import java.security.Signature;
import java.security.spec.X509EncodedKeySpec;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Base64;
import java.util.Collection;
import java.util.Collections;
import java.util.HashMap;
import java.util.HexFormat;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.TreeSet;
import java.util.function.Function;
import java.util.regex.Pattern;
import java.util.stream.Collectors;
import java.util.zip.DataFormatException;
import java.util.zip.Inflater;
import javax.crypto.Mac;
import javax.crypto.spec.SecretKeySpec;

/**
 * Verifies licence files (.lic) offline: docs/verify-elsewhere.md. Java 17 or later and
 * nothing else. Not safe for concurrent use.
 *
 * <pre>
 * var verifier = new LicenseVerifier(LicenseVerifier.parseAnchors(ANCHORS), "cad-pro", "", "");
 * var licence = verifier.verify(Files.readAllBytes(Path.of("product.lic")));
 * var status = licence.check(Math.max(System.currentTimeMillis() / 1000, floor));
 * var here = licence.match(Map.of("custom", List.of(LicenseVerifier.digest(licence.salt(), "custom", myId))), "");
 * </pre>
 */
public final class LicenseVerifier {
    /** The last second of the year 9999: "no end". */
    static final long FOREVER = 253402300799L;

    private static final int MAX_FILE = 1 << 20, MAX_TOKEN = 64 << 10, MAX_STATUSES = 1 << 20;

    private static final Shape INSTANT = whole(FOREVER), COUNT = whole(Integer.MAX_VALUE), SERIAL = whole((1L << 53) - 1);
    private static final Shape TEXTS = items(TEXT, 64);
    private static final Shape AUDIENCE = v -> v instanceof String ? List.of(v) : TEXTS.of(v);

    /** Features are true, a number or a text. Others mean nothing, and are off. */
    private static final Shape FEATURES = v -> {
        members(Map.of(), Map.of(), 256).of(v);
        Map<String, Object> on = new LinkedHashMap<>();
        ((Map<?, ?>) v).forEach((name, is) -> {
            if (is instanceof Numeral n) {
                on.put((String) name, Double.valueOf(n.text()));
            } else if (is instanceof String || Boolean.TRUE.equals(is)) {
                on.put((String) name, is);
            }
        });
        return on;
    };

    private static final List<String> KINDS = List.of("custom", "os", "uuid", "disk", "mac", "board", "cpu");

    private static final Shape ANY_KEY = members(Map.of(), same("kty crv x kid alg use nbf exp", ANYTHING));
    private static final Shape KEY = members(same("kty crv x", TEXT), join(same("kid alg use", TEXT), same("nbf exp", INSTANT)));
    private static final Shape HEADER =
        members(Map.of(), join(same("alg typ kid", TEXT), Map.of("jwk", ANY_KEY), same("crit b64", REFUSE)));
    private static final Shape ANCHORS = members(Map.of("anchors", items(KEY, 64)));
    // A key is looked at twice: what kind it is, and, where it is one of ours, as a key.
    private static final Shape SET_KEY = v -> isOurs((Obj) ANY_KEY.of(v)) ? KEY.of(v) : null;
    private static final Shape KEY_SET =
        members(join(same("iss", TEXT), same("iat exp", INSTANT), Map.of("seq", SERIAL, "keys", items(SET_KEY, 64))));
    private static final Shape TIME = members(join(same("iss sub nonce", TEXT), same("iat", INSTANT)));
    private static final Shape LIST = members(join(same("iss sub", TEXT), same("iat exp", INSTANT),
        Map.of("ttl", SERIAL, "status_list", members(Map.of("bits", COUNT, "lst", TEXT)))));
    private static final Shape LIC = members(
        join(same("refresh_after lease_until", INSTANT), Map.of("ver", COUNT,
            "phases", members(join(same("warn_at expires_at block_at", INSTANT), same("enforcement", TEXT))),
            "binding", members(same("policy", TEXT), join(same("salt code", TEXT),
                Map.of("components", members(Map.of(), same(String.join(" ", KINDS), TEXTS), 64)))))),
        join(same("customer order channel code_last4 mode", TEXT), Map.of("crit", TEXTS, "features", FEATURES,
            "machines", COUNT, "status_max_age", INSTANT, "trial", FLAG)));
    private static final Shape LICENSE = members(
        join(same("iss sub jti", TEXT), same("iat nbf exp", INSTANT), Map.of("aud", AUDIENCE, "lic", LIC)),
        Map.of("status", members(Map.of(), Map.of("status_list", members(Map.of("idx", COUNT, "uri", TEXT)))),
            "cnf", members(Map.of("jwk", KEY))));
    /** What lic.crit may name. */
    private static final List<String> CRITICAL = List.of("ver", "crit", "customer", "order", "channel", "code_last4",
        "features", "machines", "mode", "phases", "refresh_after", "lease_until", "binding", "status_max_age", "trial");

    private static Map<String, Shape> same(String names, Shape shape) {
        return Arrays.stream(names.split(" ")).collect(Collectors.toMap(Function.identity(), name -> shape));
    }

    @SafeVarargs
    private static Map<String, Shape> join(Map<String, Shape>... parts) {
        Map<String, Shape> all = new HashMap<>();
        for (Map<String, Shape> part : parts) {
            all.putAll(part);
        }
        return all;
    }

    private static final Pattern PRINTABLE = Pattern.compile("[\\p{L}\\p{M}\\p{N}\\p{P}\\p{S} ]+");

    private static void checkName(String value, int limit) {
        if (value.getBytes(StandardCharsets.UTF_8).length > limit || !PRINTABLE.matcher(value).matches()
            || value.indexOf('\ufffd') >= 0) {
            throw damaged("a name is empty, too long or cannot be printed");
        }
    }

    private static void checkId(String value) {
        if (!value.matches("[!-~]{1,128}")) {
            throw damaged("not an id: 1 to 128 characters of printable ASCII");
        }
    }

    // --- Keys and signatures ---

    /** A key that verifies. */
    public record Key(String kid, byte[] bytes, long nbf, long exp) {}

    /** A verified key set. rank is the place of its anchor. */
    public record KeySet(String raw, int rank, String iss, long iat, long seq, Map<String, Key> keys) {
        boolean newerThan(KeySet other) {
            return other == null || rank > other.rank || rank == other.rank && seq > other.seq;
        }
    }

    private record Opened(Key key, Map<?, ?> content) {}

    /** RFC 7638: the kid of a key. */
    static String thumbprint(byte[] key) {
        String jwk = "{\"crv\":\"Ed25519\",\"kty\":\"OKP\",\"x\":\"" + encode(key) + "\"}";
        try {
            return encode(MessageDigest.getInstance("SHA-256").digest(jwk.getBytes(StandardCharsets.US_ASCII)));
        } catch (GeneralSecurityException e) {
            throw new IllegalStateException(e);
        }
    }

    /** Whether a JWK is an Ed25519 key that signs; others are skipped in a set. */
    private static boolean isOurs(Obj jwk) {
        Function<String, Object> word = name -> jwk.known().get(name) == null ? "" : jwk.known().get(name);
        return word.apply("kty").equals("OKP") && word.apply("crv").equals("Ed25519")
            && List.of("", "sig").contains(word.apply("use"))
            && List.of("", "EdDSA", "Ed25519").contains(word.apply("alg"));
    }

    private static Key keyOf(Obj jwk) {
        byte[] bytes = decode(jwk.text("x"));
        if (!isOurs(jwk) || bytes.length != 32) {
            throw damaged("not an Ed25519 key that signs");
        }
        String kid = thumbprint(bytes);
        if (!jwk.text("kid").isEmpty() && !jwk.text("kid").equals(kid)) {
            throw damaged("kid is not the thumbprint of the key");
        }
        return new Key(kid, bytes, jwk.has("nbf") ? jwk.number("nbf") : 0, jwk.has("exp") ? jwk.number("exp") : FOREVER);
    }

    /** Reads what "licensectl keys anchors -o json" prints: the anchors, ranked. */
    public static List<Key> parseAnchors(byte[] document) {
        List<Obj> jwks = ((Obj) ANCHORS.of(StrictJson.read(document))).list("anchors");
        List<Key> keys = jwks.stream().map(LicenseVerifier::keyOf).toList();
        if (keys.isEmpty() || keys.stream().map(Key::kid).distinct().count() != keys.size()) {
            throw damaged("no anchor, or one twice");
        }
        return keys;
    }

    /** Takes a compact JWS apart and verifies it under the key that find(kid) gives. */
    private static Opened open(String raw, String typ, Function<String, Key> find) {
        if (raw.length() > MAX_TOKEN) {
            throw damaged("longer than 64 KiB");
        }
        String[] parts = raw.split("\\.", -1);
        if (parts.length != 3) {
            throw damaged("not three parts joined by dots");
        }
        Obj header = (Obj) HEADER.of(StrictJson.read(decode(parts[0])));
        if (!List.of("EdDSA", "Ed25519").contains(header.text("alg")) || !header.text("typ").equals(typ)) {
            throw forged("not an Ed25519 signature of a " + typ);
        }
        byte[] payload = decode(parts[1]), signature = decode(parts[2]);
        if (signature.length != 64) {
            throw damaged("a signature of the wrong length");
        }
        Key key = find.apply(header.text("kid"));
        if (key == null || !thumbprint(key.bytes()).equals(header.text("kid"))) {
            throw forged("signed with a key that is not trusted for this, or no longer");
        }
        if (!fits(key.bytes(), (parts[0] + "." + parts[1]).getBytes(StandardCharsets.US_ASCII), signature)) {
            throw forged("the signature does not fit");
        }
        return new Opened(key, StrictJson.read(payload));
    }

    /** What stands before an Ed25519 key in its X.509 form (RFC 8410). */
    private static final byte[] X509 = HexFormat.of().parseHex("302a300506032b6570032100");

    private static boolean fits(byte[] key, byte[] message, byte[] signature) {
        byte[] der = Arrays.copyOf(X509, X509.length + key.length);
        System.arraycopy(key, 0, der, X509.length, key.length);
        try {
            PublicKey publicKey = KeyFactory.getInstance("Ed25519").generatePublic(new X509EncodedKeySpec(der));
            Signature verifier = Signature.getInstance("Ed25519");
            verifier.initVerify(publicKey);
            verifier.update(message);
            return verifier.verify(signature);
        } catch (GeneralSecurityException e) {
            return false; // not a point of the curve, or numbers that are too large
        }
    }

    public static KeySet verifyKeySet(String raw, List<Key> anchors) {
        Map<String, Key> trusted = anchors.stream().collect(Collectors.toMap(Key::kid, Function.identity()));
        Opened token = open(raw, "license-keys+jwt", trusted::get);
        Obj claims = (Obj) KEY_SET.of(token.content());
        checkName(claims.text("iss"), 2048);
        if (claims.number("exp") < claims.number("iat")) {
            throw damaged("exp is before iat");
        }
        Map<String, Key> keys = new LinkedHashMap<>();
        List<Obj> jwks = claims.list("keys");
        for (Obj jwk : jwks) {
            if (jwk == null) {
                continue; // none of ours
            }
            boolean whole = !jwk.text("kid").isEmpty() && jwk.has("nbf") && jwk.has("exp");
            if (!whole || jwk.number("nbf") >= jwk.number("exp")) {
                throw damaged("a key without kid, nbf or exp, or with exp not after nbf");
            }
            Key key = keyOf(jwk);
            if (keys.put(key.kid(), key) != null) {
                throw damaged("a key twice");
            }
        }
        keys.keySet().removeAll(trusted.keySet()); // an anchor signs key sets only
        return new KeySet(raw, anchors.indexOf(token.key()), claims.text("iss"), claims.number("iat"), claims.number("seq"), keys);
    }

    /** What holds for all that a signing key signs, once the claims are known to be sound. */
    private static void judge(Obj claims, Key key, KeySet keys, String issuer) {
        if (!claims.text("iss").equals(keys.iss()) || !issuer.isEmpty() && !claims.text("iss").equals(issuer)) {
            throw forged("of another issuer");
        }
        if (claims.number("iat") < key.nbf() || claims.number("iat") >= key.exp()) {
            throw forged("its key was not valid when it was signed");
        }
    }

    /** The instant that a signed time proves to have passed. */
    public static long verifyTime(String raw, KeySet keys, String issuer, String install, String nonce) {
        Opened token = open(raw, "license-time+jwt", keys.keys()::get);
        Obj claims = (Obj) TIME.of(token.content());
        checkName(claims.text("iss"), 2048);
        checkId(claims.text("nonce"));
        if (!claims.text("sub").matches("[A-Za-z0-9_-]{43}")) {
            throw damaged("sub is not an install id");
        }
        judge(claims, token.key(), keys, issuer);
        if (!install.isEmpty() && !claims.text("sub").equals(install) || !nonce.isEmpty() && !claims.text("nonce").equals(nonce)) {
            throw forged("it answers another install or request");
        }
        return claims.number("iat");
    }

    // --- Status lists ---

    /** A verified status list. */
    public record StatusList(String uri, long iat, long exp, byte[] statuses) {
        /** 0 valid, 1 and 3 revoked, 2 suspended; -1 beyond the end: it says nothing. */
        int at(long index) {
            return index / 4 < statuses.length ? statuses[(int) (index / 4)] >> index % 4 * 2 & 3 : -1;
        }
    }

    /** Judges no clock: an expired list still proves what it says, and no freshness. */
    public static StatusList verifyStatusList(String raw, KeySet keys, String issuer, String uri) {
        Opened token = open(raw, "statuslist+jwt", keys.keys()::get);
        Obj claims = (Obj) LIST.of(token.content()), list = claims.obj("status_list");
        checkName(claims.text("iss"), 2048);
        checkName(claims.text("sub"), 2304);
        if (claims.number("exp") <= claims.number("iat") || claims.number("ttl") == 0 || list.number("bits") != 2) {
            throw damaged("exp, ttl or bits of a status list make no sense");
        }
        judge(claims, token.key(), keys, issuer);
        byte[] statuses = inflate(decode(list.text("lst")));
        if (!uri.isEmpty() && !claims.text("sub").equals(uri)) {
            throw forged("the list of another address");
        }
        return new StatusList(claims.text("sub"), claims.number("iat"), claims.number("exp"), statuses);
    }

    private static byte[] inflate(byte[] packed) {
        Inflater inflater = new Inflater();
        try {
            inflater.setInput(packed);
            byte[] out = new byte[MAX_STATUSES + 1];
            int length = 0;
            for (int n = 1; n > 0 && !inflater.finished(); length += n) {
                n = inflater.inflate(out, length, out.length - length);
            }
            if (length > 0 && length <= MAX_STATUSES && inflater.finished() && inflater.getRemaining() == 0) {
                return Arrays.copyOf(out, length);
            }
        } catch (DataFormatException e) {
            // said below
        } finally {
            inflater.end();
        }
        throw damaged("lst is not zlib, empty, too long, cut short or followed by something");
    }

    // --- Licences ---

    /**
     * Where a licence stands at an instant. phase is valid, warning, grace or blocked; reason, why it is blocked:
     * not_yet_valid, expired, lease_over, revoked, suspended; features, those that hold now (true, a Double or a
     * String); refreshAfter, when to fetch a newer file; leaseUntil, until when this one holds without.
     */
    public record Status(boolean usable, String phase, String reason, Map<String, Object> features, long refreshAfter, long leaseUntil) {}

    /**
     * A verified licence. install is the thumbprint of the install key (cnf), "" where there is none; proven, the
     * newest iat of all that was authentic in the file: see floor, in the page.
     */
    public record License(Obj claims, String product, byte[] salt, String install, StatusList statusList, long proven) {
        /** Where the licence stands at now, in seconds since the epoch. Ask match too. */
        @SuppressWarnings("unchecked")
        public Status check(long now) {
            Obj lic = claims.obj("lic"), p = lic.obj("phases");
            long iat = claims.number("iat"), exp = claims.number("exp");
            long lease = lic.number("lease_until"), refresh = lic.number("refresh_after");
            String phase = "valid", reason = "";
            if (now < claims.number("nbf")) {
                reason = "not_yet_valid";
            } else if (now >= p.number("block_at") || now >= exp) {
                reason = "expired";
            } else if (now >= lease) {
                reason = "lease_over";
            } else if (now >= p.number("expires_at") || lease < exp && 4 * now >= 3 * lease + iat) {
                phase = "grace";
            } else if (now >= p.number("warn_at")) {
                phase = "warning";
            }

            int listed = -1;
            if (statusList != null) {
                listed = statusList.at(claims.obj("status").obj("status_list").number("idx"));
            }
            if (lic.has("status_max_age") && lic.number("status_max_age") > 0) {
                long since = iat, until = iat; // no list, or none that speaks of this install: nothing is proven
                if (listed >= 0) {
                    since = statusList.iat();
                    until = Math.min(since + lic.number("status_max_age"), statusList.exp());
                }
                lease = Math.min(lease, until);
                refresh = Math.min(refresh, (since + until) / 2);
                if (reason.isEmpty() && (listed < 0 || now >= until)) {
                    reason = "lease_over";
                } else if (reason.isEmpty() && 4 * now >= 3 * until + since) {
                    phase = "grace";
                }
            }

            if (listed > 0) {
                reason = listed == 2 ? "suspended" : "revoked";
            }
            boolean usable = true;
            Object features = lic.known().getOrDefault("features", Map.of());
            if (!reason.isEmpty()) {
                phase = "blocked";
                String enforcement = listed > 0 ? "block" : p.text("enforcement");
                usable = !enforcement.equals("block");
                features = enforcement.equals("advisory") ? features : Map.of();
            }
            return new Status(usable, phase, reason, Collections.unmodifiableMap((Map<String, Object>) features), refresh, lease);
        }

        /**
         * Whether this machine is the bound one. components is kind → digests; code is the digest of an identification
         * code, or "". False always blocks.
         */
        public boolean match(Map<String, List<String>> components, String code) {
            return LicenseVerifier.match(claims.obj("lic").obj("binding"), components, code);
        }
    }

    /** Whether a licence is authentic and for this product. Judges no clock and no machine. */
    public static License verifyLicense(String raw, KeySet keys, String product, String issuer) {
        Opened token = open(raw, "license+jwt", keys.keys()::get);
        Obj claims = (Obj) LICENSE.of(token.content()), lic = claims.obj("lic"), binding = lic.obj("binding");
        if (lic.number("ver") != 1 || !CRITICAL.containsAll(lic.list("crit"))) {
            throw damaged("made for a newer version of this software");
        }
        List<String> aud = claims.list("aud");
        if (aud.isEmpty()) {
            throw damaged("aud is empty");
        }
        aud.forEach(name -> checkName(name, 256));
        checkName(claims.text("sub"), 256);
        checkName(binding.text("policy"), 256);
        checkName(claims.text("iss"), 2048);
        checkId(claims.text("jti"));
        if (claims.obj("status").has("status_list")) {
            checkName(claims.obj("status").obj("status_list").text("uri"), 2304);
        }
        checkDates(claims, lic, lic.obj("phases"));
        byte[] salt = checkBinding(binding);
        String install = claims.has("cnf") ? keyOf(claims.obj("cnf").obj("jwk")).kid() : "";
        judge(claims, token.key(), keys, issuer);
        if (!product.isEmpty() && !aud.contains(product)) {
            throw new Refused("wrong_product", "the licence is for another product");
        }
        return new License(claims, product.isEmpty() ? aud.get(0) : product, salt, install, null, claims.number("iat"));
    }

    private static void checkDates(Obj claims, Obj lic, Obj p) {
        long exp = claims.number("exp");
        if (p.number("warn_at") > p.number("expires_at") || p.number("expires_at") > p.number("block_at")
            || p.number("block_at") > exp || lic.number("lease_until") > exp) {
            throw damaged("its dates are not in order");
        }
        if (!List.of("block", "degrade", "advisory").contains(p.text("enforcement"))) {
            throw damaged("enforcement is not block, degrade or advisory");
        }
        if (!p.text("enforcement").equals("block") && exp != FOREVER) {
            throw damaged("exp has an end, under degrade or advisory");
        }
    }

    private static byte[] checkBinding(Obj binding) {
        byte[] salt = decode(binding.text("salt"));
        List<String> digests = new ArrayList<>();
        KINDS.forEach(kind -> digests.addAll(binding.obj("components").<String>list(kind)));
        if (!binding.text("code").isEmpty()) {
            digests.add(binding.text("code"));
        }
        boolean sound = digests.stream().allMatch(d -> d.length() == 22 && decode(d).length == 16);
        if (salt.length > 64 || !digests.isEmpty() && salt.length == 0 || !sound) {
            throw damaged("binding: salt or a digest is not as it must be");
        }
        return salt;
    }

    // --- Machines ---

    private static final String BLANKS = "[\t-\r \\x{85}\\x{a0}\\x{1680}\\x{2000}-\\x{200a}\\x{2028}\\x{2029}\\x{202f}\\x{205f}\\x{3000}]";

    /**
     * The digest of a component, or of an identification code (kind "code"); "" where the value counts as absent.
     * Placeholders of makers are not known here.
     */
    public static String digest(byte[] salt, String kind, String value) {
        String bare = kind.equals("code") ? value.replaceAll(BLANKS, "") : value;
        StringBuilder normal = new StringBuilder();
        bare.trim().chars().forEach(c -> normal.append((char) ('a' <= c && c <= 'z' ? c - 32 : c)));
        if (normal.length() == 0 || normal.indexOf("|") >= 0 || normal.indexOf(",") >= 0
            || !StandardCharsets.UTF_8.newEncoder().canEncode(normal)) {
            return "";
        }
        try {
            Mac mac = Mac.getInstance("HmacSHA256");
            mac.init(new SecretKeySpec(salt, "HmacSHA256"));
            return encode(Arrays.copyOf(mac.doFinal((kind + "\n" + normal).getBytes(StandardCharsets.UTF_8)), 16));
        } catch (GeneralSecurityException e) {
            throw new IllegalStateException(e);
        }
    }

    /**
     * docs/fingerprint.md, "How a machine is matched". A policy's name is frozen: one that is not known matches
     * nothing.
     */
    static boolean match(Obj binding, Map<String, List<String>> components, String code) {
        String policy = binding.text("policy");
        if (policy.equals("none")) {
            return true;
        }
        if (!List.of("exact", "fuzzy", "loose").contains(policy)) {
            return false;
        }
        if (!binding.text("code").isEmpty()) {
            return binding.text("code").equals(code);
        }
        int weight = 0, equal = 0, lost = 0, changed = 0;
        for (String kind : KINDS) {
            List<String> was = binding.obj("components").list(kind);
            Collection<String> is = components.getOrDefault(kind, List.of());
            if (is.size() > 8) {
                is = new TreeSet<>(is).stream().limit(8).toList();
            }
            if (was.isEmpty()) {
                continue;
            }
            if (was.stream().anyMatch(is::contains)) {
                boolean medium = List.of("mac", "board").contains(kind) && !policy.equals("loose");
                weight += kind.equals("cpu") ? 0 : medium ? 1 : 2;
                equal += kind.equals("cpu") ? 0 : 1;
            } else if (policy.equals("exact") && List.of("custom", "os", "disk", "mac").contains(kind)) {
                lost++;
                changed += is.isEmpty() ? 0 : 1;
            }
        }
        return weight >= 2 && lost <= 1 && (changed == 0 || equal >= 2);
    }

    // --- Files ---

    private static final List<String> BLOCKS =
        List.of("LICENSE", "LICENSE KEYS", "LICENSE STATUS", "LICENSE TIME", "LICENSE REQUEST", "LICENSE DELIVERY");

    /** The tokens of a licence file by the label of their block, none of them verified. */
    public static Map<String, List<String>> parseFile(byte[] data) {
        if (data.length > MAX_FILE) {
            throw damaged("longer than 1 MiB");
        }
        int mark = data.length < 2 ? 0 : (data[0] & 0xff) << 8 | data[1] & 0xff;
        Charset wide = mark == 0xfffe ? StandardCharsets.UTF_16LE : mark == 0xfeff ? StandardCharsets.UTF_16BE : null;
        String content = wide != null ? new String(data, 2, (data.length & ~1) - 2, wide) : new String(data, StandardCharsets.UTF_8);
        String[] lines = content.replace('\r', '\n').split("\n", -1);
        for (int i = 0; i < lines.length; i++) {
            lines[i] = clean(lines[i]);
        }
        Map<String, List<String>> found = new HashMap<>();
        BLOCKS.forEach(label -> found.put(label, new ArrayList<>()));
        for (int i = 0; i < lines.length; i++) {
            String begin = lines[i];
            String label = BLOCKS.stream().filter(l -> begin.equals("-----BEGIN " + l + "-----")).findFirst().orElse(null);
            if (label == null) {
                continue;
            }
            StringBuilder body = new StringBuilder();
            for (i++; i < lines.length && !lines[i].startsWith("-----"); i++) {
                body.append(lines[i]);
            }
            if (i == lines.length || !lines[i].equals("-----END " + label + "-----")) {
                throw damaged("its " + label + " block has no end");
            }
            found.get(label).add(token(body.toString()));
        }
        if (BLOCKS.subList(0, 4).stream().allMatch(label -> found.get(label).isEmpty())) {
            throw damaged("not a licence file");
        }
        return found;
    }

    private static String token(String body) {
        try {
            byte[] raw = Base64.getDecoder().decode(body);
            String token = new String(raw, StandardCharsets.ISO_8859_1);
            if (Base64.getEncoder().encodeToString(raw).equals(body) && token.matches("[A-Za-z0-9_.-]{1,65536}")) {
                return token;
            }
        } catch (IllegalArgumentException e) {
            // said below
        }
        throw damaged("a block is not complete or was changed");
    }

    private static final String NOISE = " \t\u000b\f\u00a0\u200b\ufeff";

    /** Without what mail and copying put around a line. */
    private static String clean(String line) {
        int from = 0, to = line.length();
        while (from < to && (NOISE + ">|").indexOf(line.charAt(from)) >= 0) {
            from++;
        }
        from += line.startsWith("- ", from) ? 2 : 0;
        while (from < to && NOISE.indexOf(line.charAt(to - 1)) >= 0) {
            to--;
        }
        return line.substring(Math.min(from, to), to);
    }

    private final List<Key> anchors;
    private final String product, issuer;
    private String keys;

    /**
     * anchors, ranked, and product are compiled in. issuer, where it is not "", must have issued it all. keys is a
     * signed key set, compiled in or seen last: a minimum; "" is none.
     */
    public LicenseVerifier(List<Key> anchors, String product, String issuer, String keys) {
        if (anchors.isEmpty() || product.isEmpty()) {
            throw new IllegalArgumentException("without anchors and a product nothing can be verified");
        }
        this.anchors = List.copyOf(anchors);
        this.product = product;
        this.issuer = issuer;
        this.keys = keys;
    }

    /** The newest key set that was seen, to be kept beside the floor. */
    public String keys() {
        return keys;
    }

    /** The licence for this product in a file, of several the one issued last. */
    public License verify(byte[] file) {
        Map<String, List<String>> tokens = parseFile(file);
        KeySet set = newestKeys(tokens.get("LICENSE KEYS"));
        License best = null;
        Refused fault = null;
        for (String raw : tokens.get("LICENSE")) {
            try {
                License found = verifyLicense(raw, set, product, issuer);
                best = best == null || found.proven() > best.proven() ? found : best;
            } catch (Refused e) {
                fault = fault == null || fault.reason.equals("wrong_product") ? e : fault;
            }
        }
        if (best == null) {
            throw fault != null ? fault : damaged("the file holds no licence");
        }
        long proven = Math.max(set.iat(), best.proven());
        String uri = best.claims().obj("status").obj("status_list").text("uri");
        StatusList list = null;
        for (String raw : tokens.get("LICENSE STATUS")) {
            try {
                StatusList found = verifyStatusList(raw, set, issuer, "");
                proven = Math.max(proven, found.iat());
                list = found.uri().equals(uri) && (list == null || found.iat() > list.iat()) ? found : list;
            } catch (Refused e) {
                continue; // as good as absent
            }
        }
        for (String raw : tokens.get("LICENSE TIME")) {
            try {
                proven = Math.max(proven, verifyTime(raw, set, issuer, "", ""));
            } catch (Refused e) {
                continue;
            }
        }
        return new License(best.claims(), best.product(), best.salt(), best.install(), list, proven);
    }

    /** The newest key set: by a later anchor, or by the same one with a higher seq. */
    private KeySet newestKeys(List<String> raws) {
        KeySet best = keys.isEmpty() ? null : verifyKeys(keys);
        Refused fault = null;
        for (String raw : raws) {
            try {
                KeySet found = verifyKeys(raw);
                best = found.newerThan(best) ? found : best;
            } catch (Refused e) {
                fault = fault == null ? e : fault;
            }
        }
        if (best == null) {
            throw fault != null ? fault : damaged("the file holds no key set, and none is known");
        }
        keys = best.raw(); // what was seen once is a minimum from then on
        return best;
    }

    private KeySet verifyKeys(String raw) {
        KeySet set = verifyKeySet(raw, anchors);
        if (!issuer.isEmpty() && !set.iss().equals(issuer)) {
            throw forged("the key set is of another issuer than the expected one");
        }
        return set;
    }
}
