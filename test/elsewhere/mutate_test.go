package elsewhere_test

import (
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"maps"
	"math/rand/v2"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/seed-357fa782/licensed/license"
	"github.com/seed-357fa782/licensed/license/token"
)

// signers are the keys of the vectors by kid, so that what was changed can be
// signed anew: else no verifier would look any further.
var signers = func() map[string]ed25519.PrivateKey {
	keys := make(map[string]ed25519.PrivateKey)
	for _, name := range []string{"anchor", "standby", "current", "next", "retired"} {
		seed := sha256.Sum256([]byte("licensed test key " + name))
		key := ed25519.NewKeyFromSeed(seed[:])
		keys[token.Thumbprint(key.Public().(ed25519.PublicKey))] = key
	}
	return keys
}()

var b64 = base64.RawURLEncoding

// parts takes a token apart.
func parts(raw string) (header, payload string, key ed25519.PrivateKey, ok bool) {
	segments := strings.Split(raw, ".")
	if len(segments) != 3 {
		return "", "", nil, false
	}
	h, err := b64.DecodeString(segments[0])
	p, err2 := b64.DecodeString(segments[1])
	var names struct{ Kid string }
	if err != nil || err2 != nil || json.Unmarshal(h, &names) != nil {
		return "", "", nil, false
	}
	key, ok = signers[names.Kid]
	return string(h), string(p), key, ok
}

func sign(header, payload string, key ed25519.PrivateKey) string {
	input := b64.EncodeToString([]byte(header)) + "." + b64.EncodeToString([]byte(payload))
	return input + "." + b64.EncodeToString(ed25519.Sign(key, []byte(input)))
}

// mutate makes n mutants of each form from the vectors that are accepted. The
// same n gives the same mutants.
func mutate(t *testing.T, n int) []question {
	t.Helper()
	const longest = 12 << 10
	good := make(map[string][]question)
	for _, v := range vectors {
		if v.Reason == "" && len(v.Input) < longest {
			good[v.Form] = append(good[v.Form], v)
		}
	}
	r := rand.New(rand.NewPCG(6, 4))
	var all []question
	for _, form := range slices.Sorted(maps.Keys(good)) {
		for i := range n {
			q := good[form][r.IntN(len(good[form]))]
			q.Name = fmt.Sprintf("mutant %d of %q", i, q.Name)
			switch form {
			case "file", "verify":
				q.Bytes, q.Input = mutantFile(r, q.Input), ""
			default:
				q.Input = mutantToken(r, q.Input)
			}
			if form == "license" || form == "verify" {
				q.Now = new(someInstant(r))
			}
			all = append(all, q)
		}
	}
	return all
}

// someInstant is near one of the instants at which something changes for the
// licences of the vectors.
func someInstant(r *rand.Rand) int64 {
	const signed, day = 1772366400, 86400
	around := []int64{signed - 600, signed, signed + day, signed + 1800, signed + 3600, signed + 252*3600, signed + 14*day, signed + 335*day, signed + 365*day, signed + 380*day}
	return around[r.IntN(len(around))] + r.Int64N(7) - 3
}

func mutantToken(r *rand.Rand, raw string) string {
	header, payload, key, ok := parts(raw)
	switch n := r.IntN(10); {
	case !ok, n == 0:
		return mutantText(r, raw)
	case n <= 2:
		header = mutantJSON(r, header)
	default:
		payload = mutantJSON(r, payload)
	}
	for r.IntN(3) == 0 {
		payload = mutantJSON(r, payload)
	}
	return sign(header, payload, key)
}

// mutantText changes a token as text.
func mutantText(r *rand.Rand, raw string) string {
	const odd = ".=+/-_AZaz09 \n\r\t%\"{"
	at := r.IntN(len(raw) + 1)
	c := string(odd[r.IntN(len(odd))])
	switch r.IntN(4) {
	case 0:
		return raw[:at] + c + raw[at:]
	case 1:
		return raw[:at]
	case 2:
		return raw[:at] + c + raw[min(at+1, len(raw)):]
	}
	return raw + c
}

// lexeme is a piece of JSON: a text, a number, a word, or a mark.
var lexeme = regexp.MustCompile(`"(?:[^"\\]|\\.)*"|[-+.0-9eE]+|[a-z]+|[{}\[\]:,]`)

// odd are values that somebody might take for others.
var odd = []string{
	`null`, `true`, `false`, `""`, `"x"`, `{}`, `[]`, `[[]]`, `{"a":1,"a":2}`, `{"a":1,"A":2}`, `0`, `-0`, `-1`, `1`, `2`, `1.0`, `1e0`, `1E2`, `0.5`, `01`, `1.`, `.5`, `+1`,
	`0x1`, `1e999`, `9007199254740991`, `9007199254740992`, `9007199254740993`, `2147483647`, `2147483648`, `253402300799`, `253402300800`, `18446744073709551617`,
	`NaN`, `Infinity`, `undefined`, `True`, `nul`, `'x'`, `"\ud800"`, `"\udc00\ud800"`, `"\ud83d\ude00"`, `"\u0000"`, `"\x"`, `"\u12"`, `"` + "\u202e" + `"`, `"` + "\u00a0" + `"`,
	`"` + "\ufffd" + `"`, `"` + "\x7f" + `"`, "\"\xff\"", "\"\xed\xa0\x80\"", "\"\t\"", "\"\n\"", `"EdDSA"`, `"Ed25519"`, `"none"`, `"HS256"`, `"block"`, `"degrade"`, `"advisory"`,
	`"none"`, `"exact"`, `"cad-pro"`, `["cad-pro"]`, `["cad-pro","cad-pro"]`, `["",""]`, `["ver"]`, `["status"]`, `"A"`, `"AA"`, `"AB"`, `"AAA="`, `"eNo76fITAAPfAgc"`,
	`"AAAAAAAAAAAAAAAAAAAAAA"`, `"AAAAAAAAAAAAAAAAAAAAAB"`, `"` + strings.Repeat("x", 129) + `"`, `"` + strings.Repeat("x", 257) + `"`,
	strings.Repeat("[", 13) + strings.Repeat("]", 13), strings.Repeat("[", 17) + strings.Repeat("]", 17), strings.Repeat(`{"a":`, 14) + "1" + strings.Repeat("}", 14),
}

// blanks are those of JSON, and some that are none.
var blanks = []string{" ", "\t", "\n", "\r", "\f", "\v", "\u00a0", "\ufeff", "\u2028", "/**/", "//\n", "#\n", "\x00"}

// mutantJSON changes a piece of a JSON text.
func mutantJSON(r *rand.Rand, s string) string {
	pieces := lexeme.FindAllStringIndex(s, -1)
	if len(pieces) == 0 {
		return s + odd[r.IntN(len(odd))]
	}
	var names, values [][]int
	for i, p := range pieces {
		switch {
		case s[p[0]] == '"' && i+1 < len(pieces) && s[pieces[i+1][0]] == ':':
			names = append(names, p)
		case !strings.Contains("{}[]:,", s[p[0]:p[1]]):
			values = append(values, p)
		}
	}
	pick := func(from [][]int) (before, piece, after string) {
		if len(from) == 0 {
			from = pieces
		}
		p := from[r.IntN(len(from))]
		return s[:p[0]], s[p[0]:p[1]], s[p[1]:]
	}
	value := odd[r.IntN(len(odd))]
	switch r.IntN(12) {
	case 0, 1, 2:
		before, _, after := pick(values)
		return before + value + after
	case 3:
		before, name, after := pick(names)
		return before + name + ":" + value + "," + name + after
	case 4:
		before, name, after := pick(names)
		return before + variant(r, name) + after
	case 5:
		before, name, after := pick(names)
		return before + variant(r, name) + ":" + value + "," + name + after
	case 6:
		before, _, after := pick(pieces)
		return before + after
	case 7:
		before, piece, after := pick(pieces)
		return before + blanks[r.IntN(len(blanks))] + piece + after
	case 8:
		before, piece, after := pick(values)
		if n, err := strconv.ParseInt(piece, 10, 64); err == nil {
			return before + strconv.FormatInt(n+r.Int64N(5)-2, 10) + after
		}
		return before + value + after
	case 9:
		before, name, after := pick(names)
		return before + `"` + []string{"__proto__", "constructor", "later", "a", ""}[r.IntN(5)] + `":` + value + "," + name + after
	case 10:
		at := r.IntN(len(s))
		return s[:at] + string([]byte{byte(r.IntN(256))}) + s[at+1:]
	}
	before, one, after := pick(values)
	_, other, _ := pick(values)
	return before + other + strings.TrimPrefix(after, one)
}

// variant writes the name of a member otherwise: as another one, or as the same
// one in escapes.
func variant(r *rand.Rand, name string) string {
	if len(name) < 3 {
		return `"x"`
	}
	at := 1 + r.IntN(len(name)-2)
	c := name[at]
	switch {
	case r.IntN(3) == 0 && c < utf8.RuneSelf:
		return name[:at] + fmt.Sprintf(`\u%04x`, c) + name[at+1:]
	case c == 'k':
		return name[:at] + "\u212a" + name[at+1:]
	case c == 's':
		return name[:at] + "\u017f" + name[at+1:]
	case c == 'i':
		return name[:at] + []string{"I", "\u0131", "\u0130"}[r.IntN(3)] + name[at+1:]
	case 'a' <= c && c <= 'z':
		return name[:at] + strings.ToUpper(string(c)) + name[at+1:]
	}
	return name[:at] + name[at+1:]
}

// mutantFile changes lines of a file, or puts it as editors and mail do.
func mutantFile(r *rand.Rand, file string) []byte {
	lines := strings.Split(file, "\n")
	noise := []string{" ", "\t", "\v", "\f", "\u00a0", "\u200b", "\ufeff", "\u2003", "> ", "| ", "- ", ">", "-", "=", "\x00", "\xff", "\r", "-----", "x", "\u0085"}
	for range 1 + r.IntN(3) {
		at := r.IntN(len(lines))
		line := lines[at]
		some := noise[r.IntN(len(noise))]
		switch r.IntN(8) {
		case 0:
			lines[at] = some + line
		case 1:
			lines[at] = line + some
		case 2:
			within := r.IntN(len(line) + 1)
			lines[at] = line[:within] + some + line[within:]
		case 3:
			lines = slices.Delete(slices.Clone(lines), at, at+1)
			lines = append(lines, "")
		case 4:
			lines[at] = strings.ToLower(line)
		case 5:
			lines[at] = line + "\n" + lines[r.IntN(len(lines))]
		case 6:
			for i := range lines {
				lines[i] = some + lines[i]
			}
		case 7:
			other := r.IntN(len(lines))
			lines[at], lines[other] = lines[other], lines[at]
		}
	}
	text := strings.Join(lines, []string{"\n", "\n", "\n", "\r\n", "\r", "\n\r"}[r.IntN(6)])
	if r.IntN(6) > 0 || !utf8.ValidString(text) {
		return []byte(text)
	}
	return utf16File(r, text)
}

// utf16File writes a text as editors of Windows do.
func utf16File(r *rand.Rand, text string) []byte {
	big := r.IntN(2)
	out := []byte{0xFF, 0xFE}
	if big == 1 {
		out = []byte{0xFE, 0xFF}
	}
	for _, c := range text {
		unit := [2]byte{byte(c), byte(c >> 8)}
		out = append(out, unit[big], unit[1-big])
	}
	if r.IntN(4) == 0 {
		out = append(out, 0)
	}
	return out
}

// machines are bindings and machines of few digests, so that many are the same;
// and values with blanks and characters of many kinds.
func machines(n int) []question {
	r := rand.New(rand.NewPCG(6, 5))
	kinds := license.Kinds()
	some := func(most int) license.Components {
		c := make(license.Components)
		for _, kind := range kinds {
			for range r.IntN(2) * r.IntN(most+1) {
				c[kind] = append(c[kind], license.Digest(b64.EncodeToString([]byte{byte(r.IntN(3 * most)), 15: 0})))
			}
		}
		return c
	}
	policies := []license.Policy{license.PolicyExact, license.PolicyFuzzy, license.PolicyLoose, license.PolicyNone, "exact", "exact", "fuzzy-2", ""}
	var all []question
	for range n {
		most := []int{1, 2, 12}[r.IntN(3)]
		q := question{Form: "match", Binding: &binding{Policy: policies[r.IntN(len(policies))], Components: some(most)}, Components: some(most)}
		if r.IntN(3) == 0 { // much alike
			q.Components = maps.Clone(q.Binding.Components)
			q.Components[kinds[r.IntN(len(kinds))]] = nil
			maps.DeleteFunc(q.Components, func(_ license.Kind, d []license.Digest) bool { return d == nil })
		}
		if r.IntN(8) == 0 {
			q.Binding.Code = license.Digest(b64.EncodeToString([]byte{byte(r.IntN(2)), 15: 0}))
			q.Code = license.Digest(b64.EncodeToString([]byte{byte(r.IntN(2)), 15: 0}))
		}
		all = append(all, q, question{Form: "digest", Salt: b64.EncodeToString([]byte("salt")), Kind: string(append(kinds, license.KindCode)[r.IntN(len(kinds)+1)]), Value: someValue(r)})
	}
	return all
}

func someValue(r *rand.Rand) string {
	characters := []rune("aZ09 \t\n\v\f\r\x00\x1c\x1f\x7f\u0085\u00a0\u00df\u0131\u017f\u1680\u2003\u200b\u2028\u202f\u205f\u3000\ufeff\U0001F600:-/|,")
	var b strings.Builder
	for range r.IntN(9) {
		at := r.IntN(len(characters))
		if at >= len(characters)-2 && r.IntN(4) > 0 {
			at = 0 // rarely what makes it absent
		}
		b.WriteRune(characters[at])
	}
	return b.String()
}
