package com.example.licensing;

import java.nio.ByteBuffer;
import java.nio.charset.CharacterCodingException;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.Base64;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;

/**
 * Base64url and JSON as strictly as licences are read: no member name twice, no half a
 * character, at most 16 deep, numbers as they stand there. A value is a String, Numeral,
 * Boolean, List, Map or null.
 */
public final class StrictJson {
    static final int MAX_DEPTH = 16;

    /** Why something is refused. */
    public static final class Refused extends RuntimeException {
        private static final long serialVersionUID = 1;
        /** forged, damaged or wrong_product. */
        public final String reason;

        Refused(String reason, String detail) {
            super(reason + ": " + detail);
            this.reason = reason;
        }
    }

    static Refused damaged(String detail) {
        return new Refused("damaged", detail);
    }

    static Refused forged(String detail) {
        return new Refused("forged", detail);
    }

    static String encode(byte[] data) {
        return Base64.getUrlEncoder().withoutPadding().encodeToString(data);
    }

    /** Base64url without padding, line breaks and stray bits in the last character. */
    static byte[] decode(String text) {
        try {
            byte[] data = Base64.getUrlDecoder().decode(text);
            if (encode(data).equals(text)) {
                return data;
            }
        } catch (IllegalArgumentException e) {
            // said below
        }
        throw damaged("not base64url");
    }

    /** A JSON number as it stands there. */
    record Numeral(String text) {}

    private final String source;
    private int at;

    private StrictJson(String source) {
        this.source = source;
    }

    /** The JSON object in data (RFC 8259, RFC 7493). */
    static Map<?, ?> read(byte[] data) {
        StrictJson reader;
        try {
            reader = new StrictJson(StandardCharsets.UTF_8.newDecoder().decode(ByteBuffer.wrap(data)).toString());
        } catch (CharacterCodingException e) {
            throw damaged("not UTF-8");
        }
        reader.space();
        Object value = reader.value(0);
        reader.space();
        if (reader.at != reader.source.length() || !(value instanceof Map<?, ?> object)) {
            throw damaged("not a JSON object, or not only one");
        }
        return object;
    }

    private char peek() {
        return at < source.length() ? source.charAt(at) : '\0';
    }

    private void space() {
        while (at < source.length() && " \t\r\n".indexOf(source.charAt(at)) >= 0) {
            at++;
        }
    }

    private boolean next(char c) {
        space();
        boolean is = at < source.length() && source.charAt(at) == c;
        if (is) {
            at++;
            space();
        }
        return is;
    }

    private Object value(int depth) {
        char c = peek();
        if ((c == '{' || c == '[') && depth == MAX_DEPTH) {
            throw damaged("nested too deeply");
        }
        switch (c) {
            case '{':
                return object(depth);
            case '[':
                return array(depth);
            case '"':
                return string();
            case 't':
                return word("true", true);
            case 'f':
                return word("false", false);
            case 'n':
                return word("null", null);
            default:
                return number();
        }
    }

    private Map<String, Object> object(int depth) {
        Map<String, Object> members = new LinkedHashMap<>();
        next('{');
        if (next('}')) {
            return members;
        }
        do {
            String name = string();
            if (members.containsKey(name)) {
                throw damaged("a member name occurs twice");
            }
            if (!next(':')) {
                throw broken();
            }
            members.put(name, value(depth + 1));
        } while (next(','));
        if (!next('}')) {
            throw broken();
        }
        return members;
    }

    private List<Object> array(int depth) {
        List<Object> elements = new ArrayList<>();
        next('[');
        if (next(']')) {
            return elements;
        }
        do {
            elements.add(value(depth + 1));
        } while (next(','));
        if (!next(']')) {
            throw broken();
        }
        return elements;
    }

    private Object word(String word, Object value) {
        if (!source.startsWith(word, at)) {
            throw broken();
        }
        at += word.length();
        return value;
    }

    private Numeral number() {
        int start = at;
        if (peek() == '-') {
            at++;
        }
        int first = at;
        if (digits() == 0 || source.charAt(first) == '0' && at - first > 1) {
            throw broken();
        }
        if (peek() == '.') {
            at++;
            if (digits() == 0) {
                throw broken();
            }
        }
        if (peek() == 'e' || peek() == 'E') {
            at++;
            if (peek() == '+' || peek() == '-') {
                at++;
            }
            if (digits() == 0) {
                throw broken();
            }
        }
        return new Numeral(source.substring(start, at));
    }

    private int digits() {
        int start = at;
        while (peek() >= '0' && peek() <= '9') {
            at++;
        }
        return at - start;
    }

    private String string() {
        if (peek() != '"') {
            throw broken();
        }
        StringBuilder out = new StringBuilder();
        for (at++; peek() != '"'; at++) {
            char c = peek();
            if (c < ' ') { // also the end of the text
                throw broken();
            }
            out.append(c == '\\' ? escape() : c);
        }
        at++;
        // What was decoded from UTF-8 is whole; an escape may be half a character.
        for (int i = 0; i < out.length(); i++) {
            if (Character.isSurrogate(out.charAt(i))) {
                if (i + 1 == out.length() || !Character.isSurrogatePair(out.charAt(i), out.charAt(i + 1))) {
                    throw damaged("half a character");
                }
                i++;
            }
        }
        return out.toString();
    }

    /** Reads what follows a backslash and stays on its last character. */
    private char escape() {
        at++;
        int plain = "\"\\/bfnrt".indexOf(peek());
        if (plain >= 0 && at < source.length()) {
            return "\"\\/\b\f\n\r\t".charAt(plain);
        }
        if (peek() != 'u' || at + 4 >= source.length()) {
            throw broken();
        }
        int code = 0;
        for (int end = at + 4; at < end; ) {
            char c = source.charAt(++at);
            if (c >= 128 || Character.digit(c, 16) < 0) {
                throw broken();
            }
            code = code << 4 | Character.digit(c, 16);
        }
        return (char) code;
    }

    private static Refused broken() {
        return damaged("not valid JSON");
    }

    // --- Shapes: what a known member must hold ---

    /** Takes a value and returns it, or throws. */
    interface Shape {
        Object of(Object value);
    }

    /** The known members of an object. */
    public record Obj(Map<String, Object> known) {
        boolean has(String name) {
            return known.containsKey(name);
        }

        /** A text, "" where it is absent. */
        String text(String name) {
            return known.get(name) instanceof String s ? s : "";
        }

        long number(String name) {
            return (Long) known.get(name);
        }

        Obj obj(String name) {
            return known.get(name) instanceof Obj o ? o : new Obj(Map.of());
        }

        @SuppressWarnings("unchecked")
        <T> List<T> list(String name) {
            return known.get(name) instanceof List<?> l ? (List<T>) l : List.of();
        }
    }

    static final Shape ANYTHING = v -> v;

    static final Shape TEXT = v -> {
        if (!(v instanceof String)) {
            throw damaged("not a text");
        }
        return v;
    };

    static final Shape FLAG = v -> {
        if (!(v instanceof Boolean)) {
            throw damaged("not true or false");
        }
        return v;
    };

    static final Shape REFUSE = v -> {
        throw damaged("must be understood, and this version does not know it");
    };

    static Shape whole(long most) {
        return v -> {
            if (!(v instanceof Numeral n) || !n.text.matches("[0-9]{1,16}") || Long.parseLong(n.text) > most) {
                throw damaged("not a whole number in range");
            }
            return Long.parseLong(n.text);
        };
    }

    static Shape items(Shape element, int limit) {
        return v -> {
            if (!(v instanceof List<?> list) || list.size() > limit) {
                throw damaged("not a list, or too long");
            }
            List<Object> out = new ArrayList<>();
            list.forEach(item -> out.add(element.of(item)));
            return out;
        };
    }

    /** An object with these members; others are dropped. */
    static Shape members(Map<String, Shape> required, Map<String, Shape> optional, int limit) {
        Map<String, Shape> known = new LinkedHashMap<>(required);
        known.putAll(optional);
        List<String> folded = known.keySet().stream().map(StrictJson::fold).toList();
        return v -> {
            if (!(v instanceof Map<?, ?> object) || object.size() > limit) {
                throw damaged("not an object, or too many members");
            }
            Map<String, Object> out = new LinkedHashMap<>();
            object.forEach((key, item) -> {
                String name = (String) key;
                if (known.containsKey(name)) {
                    out.put(name, known.get(name).of(item));
                } else if (folded.contains(fold(name))) {
                    throw damaged("a member name differs only in case from one that has a meaning");
                }
            });
            for (String name : required.keySet()) {
                if (!out.containsKey(name)) {
                    throw damaged(name + " is missing");
                }
            }
            return new Obj(out);
        };
    }

    static Shape members(Map<String, Shape> required, Map<String, Shape> optional) {
        return members(required, optional, Integer.MAX_VALUE);
    }

    static Shape members(Map<String, Shape> required) {
        return members(required, Map.of());
    }

    // toLowerCase knows the Kelvin sign, not the long s.
    private static String fold(String name) {
        return name.toLowerCase(Locale.ROOT).replace('\u017f', 's');
    }
}
