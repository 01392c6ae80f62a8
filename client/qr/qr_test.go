package qr_test

import (
	"bytes"
	"crypto/ed25519"
	"errors"
	"fmt"
	"image"
	"image/color"
	"image/png"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/seed-357fa782/licensed/client/qr"
	"github.com/seed-357fa782/licensed/internal/qrphoto"
	"github.com/seed-357fa782/licensed/license"
	"github.com/seed-357fa782/licensed/license/token"
)

// request makes a request file with so many digests, and with a licence of so
// many bytes of noise if there are any.
func request(tb testing.TB, digests, held int) (file []byte, raw string) {
	tb.Helper()
	key, err := token.NewSigningKey(ed25519.NewKeyFromSeed(make([]byte, ed25519.SeedSize)))
	if err != nil {
		tb.Fatal(err)
	}
	rng := rand.New(rand.NewPCG(1, 1))
	noise := func(n int) string {
		var s strings.Builder
		for range n {
			s.WriteByte("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"[rng.IntN(64)])
		}
		return s.String()
	}
	r := token.Request{
		ID: "4KQ7ZJX2M5VW3Y6TRA1B8CDEFG", IssuedAt: time.Unix(1772366400, 0), Op: token.OpActivate, Product: "cad-pro",
		Fingerprint: license.Fingerprint{Salt: license.ProductSalt("cad-pro"), Environment: "metal", Components: license.Components{}},
	}
	kinds := []license.Kind{license.KindMAC, license.KindDisk, license.KindBoard, license.KindOS}
	for i := range digests {
		k := kinds[i%len(kinds)]
		r.Fingerprint.Components[k] = append(r.Fingerprint.Components[k], license.Digest(noise(21)+"A"))
	}
	if held > 0 {
		r.Op, r.License = token.OpRefresh, "eyJh."+noise(held)+".c2ln"
	}
	if raw, err = token.SignRequest(r, key); err != nil {
		tb.Fatal(err)
	}
	return token.MarshalRequestFile(raw), raw
}

// screen reads what was drawn as a terminal shows it: two modules a character.
func screen(tb testing.TB, drawn string) *image.Gray {
	tb.Helper()
	lines := strings.Split(strings.TrimSuffix(drawn, "\n"), "\n")
	var rows [][]rune
	for _, line := range lines {
		line, black := strings.CutPrefix(line, "\x1b[38;5;16;48;5;231m")
		line, reset := strings.CutSuffix(line, "\x1b[0m")
		if !black || !reset {
			tb.Fatalf("a line does not set its colours: %q", line)
		}
		rows = append(rows, []rune(line))
	}
	const size = 4
	img := image.NewGray(image.Rect(0, 0, len(rows[0])*size, len(rows)*2*size))
	for y, row := range rows {
		if len(row) != len(rows[0]) {
			tb.Fatalf("line %d has %d columns, the first has %d", y, len(row), len(rows[0]))
		}
		for x, c := range row {
			upper, lower := c == '█' || c == '▀', c == '█' || c == '▄'
			for dy := range 2 * size {
				for dx := range size {
					dark := upper
					if dy >= size {
						dark = lower
					}
					if !dark {
						img.SetGray(x*size+dx, y*2*size+dy, color.Gray{Y: 255})
					}
				}
			}
		}
	}
	return img
}

func read(tb testing.TB, img image.Image, raw string) {
	tb.Helper()
	var buf bytes.Buffer
	if err := png.Encode(&buf, img); err != nil {
		tb.Fatal(err)
	}
	text, err := qrphoto.Read(buf.Bytes())
	if err != nil {
		tb.Fatal(err)
	}
	if got, err := token.ParseRequestFile([]byte(text)); err != nil || got != raw {
		tb.Errorf("it is read as another request: %v", err)
	}
}

func TestTerminal(t *testing.T) {
	for _, c := range []struct{ digests, held, columns, wantColumns, wantLines int }{
		{1, 0, 80, 77, 39}, // fits with correction to spare
		{9, 0, 80, 79, 40}, // fits with a narrow margin
		{9, 0, 0, 79, 40},  // 80 columns where none are given
		{9, 0, 300, 81, 41},
		{8, 700, 200, 113, 57},
	} {
		file, raw := request(t, c.digests, c.held)
		var out bytes.Buffer
		if err := qr.Terminal(&out, file, c.columns); err != nil {
			t.Errorf("%+v: %v", c, err)
			continue
		}
		img := screen(t, out.String())
		if got := [2]int{img.Rect.Dx() / 4, img.Rect.Dy() / 8}; got != [2]int{c.wantColumns, c.wantLines} {
			t.Errorf("%+v: %d columns and %d lines", c, got[0], got[1])
		}
		read(t, img, raw)
	}
}

func TestTerminalTooNarrow(t *testing.T) {
	for _, c := range []struct{ held, columns int }{{700, 80}, {0, 40}, {0, 1}} {
		file, _ := request(t, 8, c.held)
		var out bytes.Buffer
		err := qr.Terminal(&out, file, c.columns)
		if !errors.Is(err, qr.ErrTooLarge) || license.ReasonOf(err) != license.BadRequest || !strings.Contains(err.Error(), "use an image or the file") {
			t.Errorf("%+v: %v", c, err)
		}
		if out.Len() > 0 {
			t.Errorf("%+v: something was written", c)
		}
		if !strings.Contains(err.Error(), fmt.Sprintf("this one has %d", c.columns)) {
			t.Errorf("it does not say how many columns there are: %v", err)
		}
	}
}

func TestPNG(t *testing.T) {
	for _, c := range []struct{ digests, held, pixels, want int }{
		{1, 0, 0, 8 * (81 + 8)}, {8, 0, 0, 8 * (105 + 8)}, {8, 0, 3, 3 * (105 + 8)}, {8, 700, 4, 4 * (105 + 8)}, {8, 2400, 4, 4 * (161 + 8)},
	} {
		file, raw := request(t, c.digests, c.held)
		var out bytes.Buffer
		if err := qr.PNG(&out, file, c.pixels); err != nil {
			t.Errorf("%+v: %v", c, err)
			continue
		}
		img, err := png.Decode(&out)
		if err != nil {
			t.Fatal(err)
		}
		if b := img.Bounds(); b.Dx() != b.Dy() || b.Dx() != c.want {
			t.Errorf("%+v: %d × %d pixels", c, b.Dx(), b.Dy())
		}
		read(t, img, raw)
	}
}

// Every size of code is read back: the figures of versions and of alignment are
// the library's.
func TestEverySize(t *testing.T) {
	seen := map[int]bool{}
	for held := 1; held < 3000; held += 400 {
		file, raw := request(t, 1, held)
		var out bytes.Buffer
		if err := qr.PNG(&out, file, 2); err != nil {
			if !errors.Is(err, qr.ErrTooLarge) {
				t.Fatal(err)
			}
			break
		}
		img, err := png.Decode(&out)
		if err != nil {
			t.Fatal(err)
		}
		if side := img.Bounds().Dx()/2 - 8; !seen[side] {
			seen[side] = true
			read(t, img, raw)
		}
	}
	if len(seen) < 7 {
		t.Errorf("%d sizes", len(seen))
	}
}

func TestRefused(t *testing.T) {
	large, _ := request(t, 8, 3200)
	small, _ := request(t, 1, 0)
	for name, c := range map[string]struct {
		file   []byte
		pixels int
		large  bool
	}{
		"too large": {large, 0, true}, "no request": {[]byte("-----BEGIN LICENSE-----"), 0, false}, "nothing": {nil, 0, false},
		"pixels below nothing": {small, -1, false}, "too many pixels": {small, 44, false},
	} {
		var out bytes.Buffer
		err := qr.PNG(&out, c.file, c.pixels)
		if license.ReasonOf(err) != license.BadRequest || errors.Is(err, qr.ErrTooLarge) != c.large || out.Len() > 0 {
			t.Errorf("%s: %v", name, err)
		}
		if c.large && !strings.Contains(err.Error(), "use the file") {
			t.Errorf("it does not say what to do: %v", err)
		}
		if c.pixels == 0 {
			if err := qr.Terminal(&out, c.file, 1000); license.ReasonOf(err) != license.BadRequest || out.Len() > 0 {
				t.Errorf("%s: %v", name, err)
			}
		}
	}
}

type full struct{}

var errFull = errors.New("no space left")

func (full) Write([]byte) (int, error) { return 0, errFull }

func TestWriterThatFails(t *testing.T) {
	file, _ := request(t, 1, 0)
	if err := qr.PNG(full{}, file, 0); !errors.Is(err, errFull) {
		t.Error(err)
	}
	if err := qr.Terminal(full{}, file, 0); !errors.Is(err, errFull) {
		t.Error(err)
	}
}
