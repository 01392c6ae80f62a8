package token

import (
	"bytes"
	"encoding/base64"
	"encoding/pem"
	"log/slog"
	"slices"
	"strconv"
	"strings"
	"unicode/utf16"

	"github.com/seed-357fa782/licensed/license"
)

// The labels of our PEM blocks.
const (
	blockLicense = "LICENSE"
	blockKeys    = "LICENSE KEYS"
	blockStatus  = "LICENSE STATUS"
	blockTime    = "LICENSE TIME"
	blockRequest = "LICENSE REQUEST"

	blockDelivery = "LICENSE DELIVERY"
)

// File is what a licence file holds: tokens, not verified, in the order in
// which they stand there.
type File struct {
	Licenses []string
	KeySets  []string
	Statuses []string
	Times    []string
}

// ParseFile reads a licence file: PEM blocks (RFC 7468) whose bytes are the
// text of a token. Text around them and blocks that are not ours are ignored,
// and so is what mail and copying do to lines: CRLF, a byte order mark (UTF-16
// too), indentation, blanks at the end, marks of quotation, a missing final
// newline. Inside, a block is read strictly.
//
// A file that holds none of these blocks, or one of ours that cannot be read,
// is Damaged. Not every file holds a licence: the answer to a deactivation is a
// key set and a time.
func ParseFile(data []byte) (File, error) {
	blocks, err := parseBlocks(data)
	if err != "" {
		return File{}, license.Errorf(license.Damaged, "not a licence file: %s", err)
	}
	var f File
	for _, b := range blocks {
		switch b.label {
		case blockLicense:
			f.Licenses = append(f.Licenses, b.token)
		case blockKeys:
			f.KeySets = append(f.KeySets, b.token)
		case blockStatus:
			f.Statuses = append(f.Statuses, b.token)
		case blockTime:
			f.Times = append(f.Times, b.token)
		}
	}
	if len(f.Licenses)+len(f.KeySets)+len(f.Statuses)+len(f.Times) == 0 {
		if slices.ContainsFunc(blocks, func(b block) bool { return b.label == blockRequest }) {
			return File{}, license.Errorf(license.Damaged,
				"not a licence file but the request for one: hand it in to the licence server, and take the answer")
		}
		return File{}, license.Errorf(license.Damaged,
			`not a licence file: it holds no "-----BEGIN LICENSE-----" block; if it was copied, some of it may be missing`)
	}
	return f, nil
}

// Marshal writes the file: licences, key sets, status lists, times.
func (f File) Marshal() []byte {
	var out []byte
	for _, group := range []struct {
		label  string
		tokens []string
	}{{blockLicense, f.Licenses}, {blockKeys, f.KeySets}, {blockStatus, f.Statuses}, {blockTime, f.Times}} {
		for _, raw := range group.tokens {
			out = append(out, marshalBlock(group.label, raw)...)
		}
	}
	return out
}

// String counts what the file holds; whoever holds the tokens could use them.
func (f File) String() string { return "token.File(licences: " + strconv.Itoa(len(f.Licenses)) + ")" }

// GoString hides the tokens from %#v.
func (f File) GoString() string { return f.String() }

// LogValue hides the tokens from slog.
func (f File) LogValue() slog.Value { return slog.StringValue(f.String()) }

// ParseRequestFile reads a request file as ParseFile reads a licence file, and
// returns the token of its one LICENSE REQUEST block. Where no block of ours is,
// it reads the one request in text form (MarshalRequestText) that stands anywhere
// in data, as the scanner of a phone yields it and mail carries it. What is wrong
// is BadRequest, field "request".
func ParseRequestFile(data []byte) (string, error) {
	blocks, wrong := parseBlocks(data)
	var tokens []string
	if wrong == "" && len(blocks) == 0 {
		tokens, wrong = findTexts(toUTF8(data))
	}
	if wrong != "" {
		return "", license.FieldErrorf("request", "not a request file: %s", wrong)
	}
	for _, b := range blocks {
		if b.label == blockRequest {
			tokens = append(tokens, b.token)
		}
	}
	switch {
	case len(tokens) == 1:
		return tokens[0], nil
	case len(tokens) > 1:
		return "", license.FieldErrorf("request", "it holds more than one request; hand each in by itself")
	case len(blocks) > 0:
		return "", license.FieldErrorf("request", "not a request file but a licence file, which is the answer to one: the machine that asked for it imports it")
	}
	return "", license.FieldErrorf("request",
		`not a request file: it holds no "-----BEGIN LICENSE REQUEST-----" block and no text that begins with %s`, textStart)
}

// MarshalRequestFile writes a request file around the token of a request.
func MarshalRequestFile(raw string) []byte { return marshalBlock(blockRequest, raw) }

func marshalBlock(label, raw string) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: label, Bytes: []byte(raw)})
}

type block struct{ label, token string }

// parseBlocks returns the blocks that are ours, or in words what is wrong.
func parseBlocks(data []byte) (blocks []block, wrong string) {
	if len(data) > MaxFile {
		return nil, "it is longer than 1 MiB"
	}
	lines := strings.Split(strings.ReplaceAll(toUTF8(data), "\r", "\n"), "\n")
	for i := 0; i < len(lines); i++ {
		label, ok := boundary(cleanLine(lines[i]), "BEGIN")
		if !ok || !ourBlock(label) {
			continue
		}
		end, body := i+1, make([]byte, 0, usualBlock)
		for ; end < len(lines); end++ {
			line := cleanLine(lines[end])
			if strings.HasPrefix(line, "-----") {
				break
			}
			body = append(body, line...)
		}
		if end == len(lines) {
			return nil, "its " + label + " block has no end; some of it is missing"
		}
		if closing, ok := boundary(cleanLine(lines[end]), "END"); !ok || closing != label {
			return nil, "its " + label + " block has no end; some of it is missing"
		}
		raw, err := strictBase64.AppendDecode(nil, body)
		if err != nil || !tokenText(raw) {
			return nil, "its " + label + " block is not complete or was changed"
		}
		blocks = append(blocks, block{label: label, token: string(raw)})
		i = end
	}
	return blocks, ""
}

func ourBlock(label string) bool {
	switch label {
	case blockLicense, blockKeys, blockStatus, blockTime, blockRequest, blockDelivery:
		return true
	}
	return false
}

// usualBlock is room for the base64 of a licence or a key set.
const usualBlock = 4096

var strictBase64 = base64.StdEncoding.Strict()

// cleanLine takes away what mail puts around a line: blanks of any kind, and
// the marks of quotation before it. Base64 holds neither.
func cleanLine(line string) string {
	if isClean(line) {
		return line
	}
	line = strings.TrimLeft(line, noise+">|")
	line = strings.TrimPrefix(line, "- ") // signed mail, RFC 9580 section 7.2
	return strings.TrimRight(line, noise)
}

// isClean reports whether a line needs no cleaning at either end, which is so
// of nearly all: a product that starts waits for this.
func isClean(line string) bool {
	if line == "" {
		return true
	}
	visible := func(c byte) bool { return ' ' < c && c < 0x7f }
	first := line[0]
	return visible(first) && first != '>' && first != '|' && visible(line[len(line)-1]) && !strings.HasPrefix(line, "- ")
}

// noise is blanks and characters that cannot be seen: no-break space,
// zero-width space, byte order mark.
const noise = " \t\v\f\u00a0\u200b\ufeff"

// boundary reads a line "-----BEGIN label-----".
func boundary(line, word string) (label string, ok bool) {
	label, ok = strings.CutPrefix(line, "-----"+word+" ")
	if !ok {
		return "", false
	}
	return strings.CutSuffix(label, "-----")
}

// tokenText reports whether raw could be a compact JWS: base64url and dots.
func tokenText(raw []byte) bool {
	if len(raw) == 0 || len(raw) > MaxToken {
		return false
	}
	for _, c := range raw {
		if c != '.' && !isBase64URL(c) {
			return false
		}
	}
	return true
}

// toUTF8 reads UTF-16, which some editors and shells write, by its byte order
// mark. Everything else is taken as it is.
func toUTF8(data []byte) string {
	var first, second int
	switch {
	case bytes.HasPrefix(data, []byte{0xFF, 0xFE}):
		first, second = 0, 1
	case bytes.HasPrefix(data, []byte{0xFE, 0xFF}):
		first, second = 1, 0
	default:
		return string(data)
	}
	units := make([]uint16, 0, len(data)/2)
	for i := 2; i+1 < len(data); i += 2 {
		units = append(units, uint16(data[i+first])|uint16(data[i+second])<<8)
	}
	return string(utf16.Decode(units))
}
