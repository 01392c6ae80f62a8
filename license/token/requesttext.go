package token

import (
	"bytes"
	"compress/zlib"
	"crypto/ed25519"
	"encoding/binary"
	"errors"
	"io"
	"strings"

	"github.com/seed-357fa782/licensed/license"
)

// The text form of a request is what a QR code carries, and what the scanner of
// a phone makes of it: "LR1:", a body, ":". docs/air-gap.md describes it for
// other languages. The number is that of the form; a reader refuses one that it
// does not know.
const (
	textStart = "LR1:"
	textEnd   = ":"
)

// MarshalRequestText writes the token of a request as text that is about as
// short as it can be and has no other characters than the alphanumeric mode of
// QR codes (ISO/IEC 18004), and no blanks: copied, wrapped and indented it is the
// same still. ParseRequestFile reads it, and gives the same token. What is not
// the token of a request is BadRequest, field "request".
//
// The same token can have other texts in another version of this module; what
// was written by one is read by all.
func MarshalRequestText(raw string) (string, error) {
	parts, ok := takeApart(raw)
	if !ok || len(raw) > MaxToken {
		return "", license.FieldErrorf("request", "it is not the token of a request")
	}
	var packed bytes.Buffer
	w, err := zlib.NewWriterLevelDict(&packed, zlib.BestCompression, []byte(textWords))
	if err == nil {
		_, err = w.Write(parts)
	}
	if err == nil {
		err = w.Close()
	}
	if err != nil {
		return "", license.Errorf(license.Internal, "the request was not written as text").WithCause(err)
	}
	return textStart + encode41(packed.Bytes()) + textEnd, nil
}

// findTexts returns the tokens that stand in text form among other text, two at
// most, or in words what is wrong.
func findTexts(data string) (tokens []string, wrong string) {
	for len(tokens) < 2 {
		_, rest, found := strings.Cut(data, textStart)
		if !found {
			break
		}
		body, after, ended := strings.Cut(rest, textEnd)
		if !ended {
			return nil, "its text, which begins with " + textStart + ", has no end; some of it is missing"
		}
		raw, ok := fromText(body)
		if !ok {
			return nil, "its text, which begins with " + textStart + ", is not complete or was changed"
		}
		tokens, data = append(tokens, raw), after
	}
	return tokens, ""
}

func fromText(body string) (raw string, ok bool) {
	packed, ok := decode41(textNoise.Replace(body))
	if !ok {
		return "", false
	}
	src := bytes.NewReader(packed)
	r, err := zlib.NewReaderDict(src, []byte(textWords))
	if err != nil {
		return "", false
	}
	parts, err := io.ReadAll(io.LimitReader(r, MaxToken+1))
	if err != nil || len(parts) > MaxToken || src.Len() > 0 {
		return "", false
	}
	return putTogether(parts)
}

// textNoise takes out of a text what mail puts around lines, and their ends.
// None of it is of the alphabet.
var textNoise = strings.NewReplacer(" ", "", "\t", "", "\v", "", "\f", "", "\r", "", "\n", "", ">", "", "|", "",
	"\u00a0", "", "\u200b", "", "\ufeff", "")

// takeApart writes the three parts of a token as the bytes that they stand for,
// each after its length, and then those of the licence that it carries, after
// the place in the payload from which they were taken: base64url, and more so
// base64url in base64url, hides from a compressor all that repeats. What follows
// from the rest is left out.
func takeApart(raw string) (out []byte, ok bool) {
	whole, ok := splitToken(raw)
	if !ok {
		return nil, false
	}
	parts, held, at := whole, tokenParts{}, 0
	if value := memberAt(parts[1], "license"); value.end > 0 {
		if held, ok = splitToken(string(parts[1][value.start:value.end])); ok {
			at = value.start
			parts[1] = append(bytes.Clone(parts[1][:at]), parts[1][value.end:]...)
		}
	}
	for i, known := range derived(parts) {
		if known != "" {
			parts[i] = bytes.Replace(parts[i], []byte(known), []byte{leftOut}, 1)
		}
	}
	out = appendParts(nil, parts)
	if at > 0 {
		out = appendParts(binary.AppendUvarint(out, uint64(at)), held)
	}
	back, ok := putTogether(out)
	return out, ok && back == raw
}

// putTogether is the inverse of takeApart.
func putTogether(data []byte) (raw string, ok bool) {
	parts, data, err := readParts(data)
	if err != nil {
		return "", false
	}
	for i, known := range derived(parts) {
		if known != "" {
			parts[i] = bytes.Replace(parts[i], []byte{leftOut}, []byte(known), 1)
		}
	}
	if len(data) > 0 {
		at, n := binary.Uvarint(data)
		if n <= 0 || at > uint64(len(parts[1])) {
			return "", false
		}
		held, rest, err := readParts(data[n:])
		if err != nil || len(rest) > 0 {
			return "", false
		}
		payload := parts[1]
		parts[1] = append(append(bytes.Clone(payload[:at]), joinToken(held)...), payload[at:]...)
	}
	raw = joinToken(parts)
	return raw, tokenText([]byte(raw))
}

// leftOut stands in a header for the key's thumbprint and in a payload for the
// product's salt, where each is first. No JSON holds it.
const leftOut = 1

// derived returns what follows from the rest of a header and of a payload.
func derived(parts tokenParts) [2]string {
	var known [2]string
	if v := memberAt(parts[0], "x"); v.end > 0 {
		if x, err := b64.DecodeString(string(parts[0][v.start:v.end])); err == nil && len(x) == ed25519.PublicKeySize {
			known[0] = Thumbprint(x)
		}
	}
	if v := memberAt(parts[1], "product"); v.end > 0 {
		known[1] = b64.EncodeToString(license.ProductSalt(string(parts[1][v.start:v.end])))
	}
	return known
}

// span is where a text stands in another.
type span struct{ start, end int }

// memberAt finds the first text with a name, as it is written in compact JSON.
func memberAt(data []byte, name string) span {
	before := `"` + name + `":"`
	at := bytes.Index(data, []byte(before))
	if at < 0 {
		return span{}
	}
	at += len(before)
	size := bytes.IndexByte(data[at:], '"')
	if size <= 0 {
		return span{}
	}
	return span{at, at + size}
}

// tokenParts are header, payload and signature of a token.
type tokenParts [3][]byte

func splitToken(raw string) (parts tokenParts, ok bool) {
	texts := strings.Split(raw, ".")
	if len(texts) != len(parts) {
		return parts, false
	}
	for i, text := range texts {
		part, err := b64.DecodeString(text)
		if err != nil || b64.EncodeToString(part) != text { // line ends are skipped by the decoder
			return parts, false
		}
		parts[i] = part
	}
	return parts, true
}

func joinToken(parts tokenParts) string {
	return b64.EncodeToString(parts[0]) + "." + b64.EncodeToString(parts[1]) + "." + b64.EncodeToString(parts[2])
}

func appendParts(to []byte, parts tokenParts) []byte {
	for _, part := range parts {
		to = append(binary.AppendUvarint(to, uint64(len(part))), part...)
	}
	return to
}

var errParts = errors.New("parts are missing")

func readParts(data []byte) (parts tokenParts, rest []byte, err error) {
	for i := range parts {
		size, n := binary.Uvarint(data)
		if n <= 0 || size > uint64(len(data)-n) {
			return parts, nil, errParts
		}
		parts[i], data = data[n:n+int(size)], data[n+int(size):]
	}
	return parts, data, nil
}

// alphabet41 is that of RFC 9285 less what text loses on its way: the blank, the
// full stop (which makes an address of what stands around it), the asterisk
// (which makes it bold) and the colon, which ends the text. 41 is the least
// number whose cube holds two bytes.
const alphabet41 = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ$%+-/"

const base41 = len(alphabet41)

// encode41 writes bytes as RFC 9285 section 4 does, in base 41: two bytes as
// three characters, the least significant first, and a last one as two.
func encode41(data []byte) string {
	out := make([]byte, 0, (len(data)+1)/2*3)
	for len(data) > 0 {
		n, chars := int(data[0]), 2
		if len(data) > 1 {
			n, chars = n<<8|int(data[1]), 3
		}
		for range chars {
			out = append(out, alphabet41[n%base41])
			n /= base41
		}
		data = data[chars-1:]
	}
	return string(out)
}

// decode41 is strict: what it accepts has no other text.
func decode41(text string) (data []byte, ok bool) {
	data = make([]byte, 0, len(text)/3*2+1)
	for len(text) > 0 {
		chars := min(len(text), 3)
		n := 0
		for i := chars - 1; i >= 0; i-- {
			digit := strings.IndexByte(alphabet41, text[i])
			if digit < 0 {
				return nil, false
			}
			n = n*base41 + digit
		}
		switch {
		case chars == 3 && n < 1<<16:
			data = append(data, byte(n>>8), byte(n))
		case chars == 2 && n < 1<<8:
			data = append(data, byte(n))
		default:
			return nil, false
		}
		text = text[chars:]
	}
	return data, true
}

// textWords is the preset dictionary (RFC 1950) of the text form LR1: what stands
// in most requests, the most usual last. It is part of the form and never
// changes; another one is another form.
const textWords = `"from":""instance":""status_max_age":"trial":true"code":"","crit":[` +
	`"advisory""degrade""exact""loose""none""floating""vm""container""metal""uuid":[""cpu":[""board":[""custom":["` +
	`"https://licence.status/1/v1/status/"channel":"koogallery""channel":"manual""order":"","customer":""` +
	`"features":{":true,":false,"code_last4":"` +
	`{"alg":"EdDSA","kid":"","typ":"license+jwt"}{"iss":"https://","sub":"lic_01","aud":"","jti":"","iat":17,"nbf":17,"exp":253402300799,"lic":{"ver":1,` +
	`"machines":1,"mode":"node","phases":{"warn_at":17,"expires_at":18,"block_at":18,"enforcement":"block"},"refresh_after":17,"lease_until":17,` +
	`"binding":{"policy":"fuzzy","salt":"","components":{"status":{"status_list":{"idx":1,"uri":"https://"}},"cnf":{"jwk":{"kty":"OKP","crv":"Ed25519","x":"` +
	`{"jti":"","iat":17,"op":"deactivate","op":"transfer","op":"refresh","op":"activate","product":"","prev":"","license":"","code":"LIC-` +
	`"fingerprint":{"salt":"","components":{"mac":["","disk":["],"board":["],"cpu":["],"uuid":["],"os":["],"custom":["]},"environment":"metal"}` +
	`{"alg":"EdDSA","kid":"","typ":"license-request+jwt","jwk":{"crv":"Ed25519","kty":"OKP","x":"`
