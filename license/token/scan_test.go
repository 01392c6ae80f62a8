package token_test

import (
	"encoding/json"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/seed-357fa782/licensed/license/token"
)

// TestShapesKnowWhatIsDecoded is what keeps the rule about names that differ
// only in case complete.
func TestShapesKnowWhatIsDecoded(t *testing.T) {
	for _, name := range token.Undecoded() {
		t.Errorf("%s is decoded and does not stand in its shape", name)
	}
}

func TestScanIsStricterThanJSON(t *testing.T) {
	for _, text := range []string{
		`{`, `}`, `{}}`, `{} x`, `{"a"}`, `{"a":}`, `{"a":1,}`, `{,}`, `{"a" 1}`, `{a:1}`, `{"a":[1,]}`, `{"a":[1 2]}`, `{"a":[}`,
		`{"a":01}`, `{"a":-}`, `{"a":1.}`, `{"a":.1}`, `{"a":1e}`, `{"a":1e+}`, `{"a":+1}`, `{"a":0x1}`, `{"a":NaN}`,
		`{"a":tru}`, `{"a":nul}`, `{"a":truefalse}`, `{"a":"}`, `{"a":"\`, `{"a":"\u12"}`, `{"a":"\u12G4"}`, `{"a":"\x"}`, "{\"a\":\"\n\"}",
		`{"a":"\udc00"}`, `{"a":"\ud800\ud800"}`, `{"a":"\ud800x"}`, "{\"a\":\"\xed\xa0\x80\"}", `[]`, `"x"`, `1`, ``, ` `, "\ufeff{}",
		`{"a":1,"a":2}`, `{"a":1,"\u0061":2}`, `{"a":{"b":1,"b":1}}`, `{"a":[{"b":1,"b":1}]}`, `{"":1,"":1}`,
	} {
		if token.Scan([]byte(text)) == nil {
			t.Errorf("accepted %q", text)
		}
	}
	for _, text := range []string{
		`{}`, " \t\r\n{ } ", `{"a":[],"b":{},"c":[[],[1,-0.5e+3,"x"]]}`, `{"a":"\"\\\/\b\f\n\r\t\u00e9\ud83d\ude00"}`, `{"a":1,"A":1}`,
		`{"a":true,"b":false,"c":null}`, `{"a":{"x":1},"b":{"x":1},"x":1}`, `{"é":1,"É":1}`,
		strings.Repeat(`{"a":`, 16) + "1" + strings.Repeat(`}`, 16),
	} {
		if err := token.Scan([]byte(text)); err != nil {
			t.Errorf("refused %q: %v", text, err)
		}
	}
}

// TestScanAcceptsWhatIsMarshalled: whatever encoding/json writes with unlike
// names and little nesting is accepted.
func TestScanAcceptsWhatIsMarshalled(t *testing.T) {
	var value func(depth int) *rapid.Generator[any]
	value = func(depth int) *rapid.Generator[any] {
		simple := rapid.OneOf(
			rapid.String().AsAny(), rapid.Int64().AsAny(), rapid.Float64Range(-1e300, 1e300).AsAny(), rapid.Bool().AsAny(), rapid.Just(any(nil)))
		if depth == 0 {
			return simple
		}
		return rapid.OneOf(simple, rapid.SliceOfN(value(depth-1), 0, 4).AsAny(), rapid.MapOfN(rapid.String(), value(depth-1), 0, 30).AsAny())
	}
	rapid.Check(t, func(t *rapid.T) {
		data, err := json.Marshal(map[string]any{"x": value(3).Draw(t, "value")})
		if err != nil {
			t.Fatal(err)
		}
		if err := token.Scan(data); err != nil {
			t.Fatalf("refused %s: %v", data, err)
		}
	})
}
