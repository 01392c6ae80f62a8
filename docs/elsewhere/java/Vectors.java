package com.example.licensing;

import com.example.licensing.LicenseVerifier.Key;
import com.example.licensing.LicenseVerifier.KeySet;
import com.example.licensing.LicenseVerifier.License;
import com.example.licensing.LicenseVerifier.StatusList;
import com.example.licensing.StrictJson.Numeral;
import com.example.licensing.StrictJson.Obj;
import com.example.licensing.StrictJson.Refused;
import java.io.BufferedReader;
import java.io.IOException;
import java.io.InputStreamReader;
import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.Base64;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.stream.Collectors;
import java.util.stream.IntStream;

/**
 * Runs vectors: JSON lines in, JSON lines out. The first line is {"anchors": …, "keys": …}, each further one a vector
 * as license/token/testdata/README.md describes them. The answer to each is what became of it.
 */
final class Vectors {
    private static Map<String, Object> answer(Map<?, ?> v, List<Key> anchors, String document) {
        String form = text(v, "form"), raw = text(v, "input"), issuer = text(v, "issuer");
        byte[] data = v.containsKey("bytes") ? Base64.getDecoder().decode(text(v, "bytes")) : raw.getBytes(StandardCharsets.UTF_8);
        Map<String, Object> out = new LinkedHashMap<>();
        out.put("reason", "");
        switch (form) {
            case "match" -> out.put("match", LicenseVerifier.match(object(v.get("binding")), digests(v), text(v, "code")));
            case "digest" -> out.put("digest", LicenseVerifier.digest(StrictJson.decode(text(v, "salt")), text(v, "kind"), text(v, "value")));
            case "keys" -> {
                KeySet keys = LicenseVerifier.verifyKeySet(raw, anchors);
                out.put("rank", keys.rank());
                out.put("kids", List.copyOf(keys.keys().keySet()));
            }
            case "file" -> {
                Map<String, List<String>> tokens = LicenseVerifier.parseFile(data);
                out.put("tokens", List.of("LICENSE", "LICENSE KEYS", "LICENSE STATUS", "LICENSE TIME").stream()
                    .map(label -> tokens.get(label).size()).toList());
            }
            case "verify" -> {
                License licence = new LicenseVerifier(anchors, text(v, "product"), issuer, text(v, "minimum")).verify(data);
                out.put("jti", licence.claims().text("jti"));
                out.put("proven", licence.proven());
                standing(licence, v, out);
                out.put("match", licence.match(digests(v), text(v, "code")));
            }
            case "license" -> {
                KeySet keys = LicenseVerifier.verifyKeySet(document, anchors);
                License licence = LicenseVerifier.verifyLicense(raw, keys, text(v, "product"), issuer);
                out.put("jti", licence.claims().text("jti"));
                out.put("install", licence.install());
                standing(licence, v, out);
            }
            case "list" -> {
                KeySet keys = LicenseVerifier.verifyKeySet(document, anchors);
                StatusList found = LicenseVerifier.verifyStatusList(raw, keys, issuer, text(v, "uri"));
                int end = found.statuses().length * 4;
                out.put("statuses", IntStream.range(0, Math.min(end, 64)).mapToObj(found::at).toList());
                out.put("beyond", found.at(end) < 0 ? null : found.at(end));
            }
            case "time" -> {
                KeySet keys = LicenseVerifier.verifyKeySet(document, anchors);
                out.put("proven", LicenseVerifier.verifyTime(raw, keys, issuer, text(v, "install"), text(v, "nonce")));
            }
            default -> throw new IllegalArgumentException("form " + form);
        }
        return out;
    }

    private static void standing(License licence, Map<?, ?> v, Map<String, Object> out) {
        if (!(v.get("now") instanceof Numeral now)) {
            return;
        }
        LicenseVerifier.Status s = licence.check(Long.parseLong(now.text()));
        out.put("usable", s.usable());
        out.put("phase", s.phase());
        out.put("why", s.reason());
        out.put("features", s.features());
        out.put("refresh_after", s.refreshAfter());
        out.put("lease_until", s.leaseUntil());
    }

    private static String text(Map<?, ?> v, String name) {
        return v.get(name) instanceof String s ? s : "";
    }

    private static Map<String, List<String>> digests(Map<?, ?> v) {
        Map<String, List<String>> out = new LinkedHashMap<>();
        if (v.get("components") instanceof Map<?, ?> components) {
            components.forEach((kind, list) -> out.put((String) kind, ((List<?>) list).stream().map(String.class::cast).toList()));
        }
        return out;
    }

    private static Obj object(Object value) {
        Map<String, Object> out = new LinkedHashMap<>();
        ((Map<?, ?>) value).forEach((name, is) -> out.put((String) name, is instanceof Map<?, ?> ? object(is) : is));
        return new Obj(out);
    }

    private static String json(Object value) {
        if (value instanceof Map<?, ?> map) {
            return map.entrySet().stream().map(e -> json(e.getKey()) + ":" + json(e.getValue())).collect(Collectors.joining(",", "{", "}"));
        }
        if (value instanceof List<?> list) {
            return list.stream().map(Vectors::json).collect(Collectors.joining(",", "[", "]"));
        }
        if (value instanceof Double d) {
            return d.isInfinite() ? "null" : d.toString();
        }
        if (!(value instanceof String s)) {
            return String.valueOf(value);
        }
        StringBuilder out = new StringBuilder("\"");
        s.chars().forEach(c -> out.append(c > ' ' && c < 127 && c != '"' && c != '\\' ? String.valueOf((char) c) : String.format("\\u%04x", c)));
        return out.append('"').toString();
    }

    public static void main(String[] args) throws IOException {
        BufferedReader in = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
        PrintStream out = new PrintStream(System.out, false, StandardCharsets.US_ASCII);
        List<Key> anchors = null;
        String document = "";
        for (String line = in.readLine(); line != null; line = in.readLine()) {
            Map<?, ?> v = StrictJson.read(line.getBytes(StandardCharsets.UTF_8));
            if (anchors == null) {
                anchors = LicenseVerifier.parseAnchors(json(Map.of("anchors", plain(((Map<?, ?>) v.get("anchors")).get("anchors")))).getBytes(StandardCharsets.UTF_8));
                document = text(v, "keys");
                continue;
            }
            try {
                out.println(json(answer(v, anchors, document)));
            } catch (Refused e) {
                out.println(json(Map.of("reason", e.reason)));
            }
        }
        out.flush();
    }

    /** What was read, so that it can be written again. */
    private static Object plain(Object value) {
        if (value instanceof Map<?, ?> map) {
            Map<String, Object> copy = new LinkedHashMap<>();
            map.forEach((name, is) -> copy.put((String) name, plain(is)));
            return copy;
        }
        if (value instanceof List<?> list) {
            List<Object> copy = new ArrayList<>();
            list.forEach(item -> copy.add(plain(item)));
            return copy;
        }
        return value instanceof Numeral n ? Long.parseLong(n.text()) : value;
    }
}
