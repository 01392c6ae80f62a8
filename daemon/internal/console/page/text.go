package page

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"html/template"
	"io/fs"
	"maps"
	"strconv"
	"strings"
	"time"
)

// texts are the texts of one language by key. A text has its arguments as {0}, {1}, …;
// one that depends on a number is two, "key.one" and "key.other", by the first argument.
type texts map[string]string

func readTexts(l Lang, own fs.FS, of fs.FS) (texts, error) {
	all := make(texts)
	name := "text/" + string(l) + ".json"
	for _, from := range []fs.FS{own, of} {
		data, err := fs.ReadFile(from, name)
		if err != nil {
			return nil, fmt.Errorf("read the texts: %w", err)
		}
		var some texts
		if err := json.NewDecoder(bytes.NewReader(data)).Decode(&some); err != nil {
			return nil, fmt.Errorf("texts of %s: %w", name, err)
		}
		for key := range some {
			if _, twice := all[key]; twice {
				return nil, fmt.Errorf("texts of %s: %q is there twice", name, key)
			}
		}
		maps.Copy(all, some)
	}
	return all, nil
}

// writer writes texts, dates and numbers in one language.
type writer struct {
	lang  Lang
	zone  *time.Location
	texts texts
}

// funcs are what templates can call.
func (w writer) funcs() template.FuncMap {
	return template.FuncMap{
		"t": w.text, "word": w.word, "num": w.number, "date": w.date, "day": w.day, "bytes": w.bytes, "span": w.span,
		"ago": w.ago, "iso": iso, "dict": dict, "list": func(v ...any) []any { return v }, "langName": langName,
		"said": w.said, "hint": w.hint, "zone": w.zone.String, "langLink": langLink,
		"asset": func(string) (string, error) { return "", errors.New("no Site") },
	}
}

// text is the text of a key with its arguments. Where there is none it is the key: a
// test says which are missing.
func (w writer) text(key string, args ...any) string {
	s, ok := w.texts[key]
	if !ok && len(args) > 0 {
		form := ".other"
		if n, isInt := integer(args[0]); isInt && n == 1 {
			form = ".one"
		}
		if s, ok = w.texts[key+form]; !ok {
			s, ok = w.texts[key+".other"]
		}
	}
	if !ok {
		return key
	}
	var pairs []string // replaced at once: an argument may hold what looks like another
	for i, arg := range args {
		pairs = append(pairs, "{"+strconv.Itoa(i)+"}", w.argument(arg))
	}
	return strings.NewReplacer(pairs...).Replace(s)
}

func (w writer) argument(v any) string {
	if n, ok := integer(v); ok {
		return w.number(n)
	}
	return fmt.Sprint(v)
}

// word is how a word of a program, such as a state, is said: the text "kind.value", or
// the word itself where it has none.
func (w writer) word(kind string, value any) string {
	v := fmt.Sprint(value)
	if s, ok := w.texts[kind+"."+v]; ok {
		return s
	}
	return v
}

// said is a value of the API as people write it: an instant as a date, and yes or no.
func (w writer) said(value string) string {
	switch value {
	case "true":
		return w.text("word.yes")
	case "false":
		return w.text("word.no")
	}
	if at, err := time.Parse(time.RFC3339, value); err == nil {
		return w.date(at)
	}
	return value
}

// hint is what stands beside a field, "" where it needs nothing.
func (w writer) hint(field string) string { return w.texts["field."+field+".hint"] }

// integer is the value of an integer of any type.
func integer(v any) (int64, bool) {
	switch v := v.(type) {
	case int:
		return int64(v), true
	case int64:
		return v, true
	case int32:
		return int64(v), true
	case *int:
		if v != nil {
			return int64(*v), true
		}
	case uint64:
		return int64(min(v, 1<<62)), true
	}
	return 0, false
}

// number writes an integer in groups of three digits, as both languages do.
func (w writer) number(v any) string {
	n, ok := integer(v)
	if !ok {
		return fmt.Sprint(v)
	}
	digits := strconv.FormatInt(n, 10)
	sign := ""
	if n < 0 {
		sign, digits = "−", digits[1:]
	}
	var b strings.Builder
	for i, d := range digits {
		if i > 0 && (len(digits)-i)%3 == 0 {
			b.WriteByte(',')
		}
		b.WriteRune(d)
	}
	return sign + b.String()
}

// date writes an instant to the minute, with its zone. Neither nil nor zero is one.
func (w writer) date(v any) string {
	t, ok := instant(v)
	if !ok {
		return "–"
	}
	t = t.In(w.zone)
	if w.lang == Chinese {
		return t.Format("2006年1月2日 15:04 ") + zoneName(t)
	}
	return t.Format("2 Jan 2006, 15:04 ") + zoneName(t)
}

func zoneName(t time.Time) string {
	name, offset := t.Zone()
	if name == "" || name[0] == '+' || name[0] == '-' || offset == 0 {
		return strings.TrimSuffix("UTC"+t.Format("-07:00"), "+00:00")
	}
	return name
}

// day writes the day of an instant.
func (w writer) day(v any) string {
	t, ok := instant(v)
	if !ok {
		return "–"
	}
	if w.lang == Chinese {
		return t.In(w.zone).Format("2006年1月2日")
	}
	return t.In(w.zone).Format("2 Jan 2006")
}

// iso is an instant for a machine.
func iso(v any) string {
	t, ok := instant(v)
	if !ok {
		return ""
	}
	return t.UTC().Format(time.RFC3339)
}

func instant(v any) (time.Time, bool) {
	switch v := v.(type) {
	case time.Time:
		return v, !v.IsZero()
	case *time.Time:
		if v == nil {
			return time.Time{}, false
		}
		return *v, !v.IsZero()
	}
	return time.Time{}, false
}

// ago says how far an instant is from now, in the largest unit that fits: "in 3 days".
func (w writer) ago(now time.Time, v any) string {
	t, ok := instant(v)
	if !ok {
		return "–"
	}
	d, key := t.Sub(now), "time.in"
	if d < 0 {
		d, key = -d, "time.ago"
	}
	if d < time.Minute {
		return w.text("time.now")
	}
	return w.text(key, w.span(d))
}

// span writes a duration in the largest unit that it has at least two of, or one.
func (w writer) span(d time.Duration) string {
	const day = 24 * time.Hour
	for _, u := range []struct {
		size time.Duration
		key  string
	}{{2 * 365 * day, "time.years"}, {2 * day, "time.days"}, {2 * time.Hour, "time.hours"}, {2 * time.Minute, "time.minutes"}} {
		one := map[string]time.Duration{"time.years": 365 * day, "time.days": day, "time.hours": time.Hour, "time.minutes": time.Minute}[u.key]
		if d >= u.size {
			return w.text(u.key, int(d/one))
		}
	}
	if d >= time.Minute {
		return w.text("time.minutes", 1)
	}
	return w.text("time.seconds", int(d/time.Second))
}

// bytes writes a size.
func (w writer) bytes(v any) string {
	n, ok := integer(v)
	if !ok {
		return fmt.Sprint(v)
	}
	units := []string{"B", "KiB", "MiB", "GiB", "TiB"}
	f, i := float64(n), 0
	for f >= 1024 && i < len(units)-1 {
		f, i = f/1024, i+1
	}
	if i == 0 {
		return w.number(n) + " B"
	}
	return strconv.FormatFloat(f, 'f', 1, 64) + " " + units[i]
}

// dict makes a map of names and values, for parts that take several.
func dict(pairs ...any) (map[string]any, error) {
	if len(pairs)%2 != 0 {
		return nil, errors.New("dict: a name without a value")
	}
	out := make(map[string]any, len(pairs)/2)
	for i := 0; i < len(pairs); i += 2 {
		name, ok := pairs[i].(string)
		if !ok {
			return nil, errors.New("dict: a name that is no text")
		}
		out[name] = pairs[i+1]
	}
	return out, nil
}

// langName is the name of a language in itself.
func langName(l Lang) string {
	if l == Chinese {
		return "中文"
	}
	return "English"
}
