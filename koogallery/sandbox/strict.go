package sandbox

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
)

// jsonMembers is an object by the exact names of its members. encoding/json
// takes a member for a field of any case; the real platform does not, and a
// merchant must learn of a misspelt name here.
type jsonMembers map[string]json.RawMessage

// readMembers reads an object; its error says what is there instead.
func readMembers(data []byte) (jsonMembers, error) {
	if !json.Valid(data) {
		return nil, errors.New("no JSON")
	}
	if kind := kindOf(data); kind != "an object" {
		return nil, fmt.Errorf("%s and no object", kind)
	}
	var m jsonMembers
	if err := json.Unmarshal(data, &m); err != nil {
		return nil, errors.New("no JSON")
	}
	return m, nil
}

// kindOf names the kind of a JSON value.
func kindOf(raw json.RawMessage) string {
	switch raw = bytes.TrimSpace(raw); {
	case len(raw) == 0:
		return "nothing"
	case raw[0] == '{':
		return "an object"
	case raw[0] == '[':
		return "a list"
	case raw[0] == '"':
		return "a text"
	case raw[0] == 'n':
		return "null"
	case raw[0] == 't' || raw[0] == 'f':
		return "a boolean"
	}
	return "a number"
}

// into decodes a member where it is there and not null; the error says what it
// is instead of what is wanted.
func (m jsonMembers) into(name, want string, out any) error {
	raw := m[name]
	if raw == nil || kindOf(raw) == "null" {
		return nil
	}
	if err := json.Unmarshal(raw, out); err != nil {
		return fmt.Errorf("%s is %s, not %s", name, kindOf(raw), want)
	}
	return nil
}

func (m jsonMembers) text(name string, out *string) error { return m.into(name, "a text", out) }

// misspelt are the members which differ from a wanted name in case, underscores
// and hyphens only.
func (m jsonMembers) misspelt(wanted ...string) []string {
	bare := func(s string) string { return strings.ToLower(strings.NewReplacer("_", "", "-", "").Replace(s)) }
	var out []string
	for _, got := range sortedKeys(m) {
		for _, want := range wanted {
			if got != want && bare(got) == bare(want) {
				out = append(out, fmt.Sprintf("%q is not %q", shorten(got, 64), want))
			}
		}
	}
	return out
}

// list reads a member that is a list of objects.
func (m jsonMembers) list(name string) ([]jsonMembers, error) {
	var raw []json.RawMessage
	if err := m.into(name, "a list", &raw); err != nil {
		return nil, err
	}
	out := make([]jsonMembers, 0, min(len(raw), maxBatch+1))
	for i, item := range raw {
		if i > maxBatch {
			break // too many, which the caller refuses
		}
		o, err := readMembers(item)
		if err != nil {
			return nil, fmt.Errorf("%s[%d] is %w", name, i, err)
		}
		out = append(out, o)
	}
	return out, nil
}

// requestMembers reads the body of a call of the open API. Names that are nearly
// right are noted as violations, and not read.
func (s *Sandbox) requestMembers(call string, body []byte, wanted ...string) (jsonMembers, bool) {
	m, err := readMembers(body)
	if err != nil {
		s.violate(call + ": the body is " + err.Error())
		return nil, false
	}
	s.noteMisspelt(call, m, wanted...)
	return m, true
}

func (s *Sandbox) noteMisspelt(call string, m jsonMembers, wanted ...string) {
	for _, text := range m.misspelt(wanted...) {
		s.violate(call + ": " + text + "; names are case-sensitive")
	}
}

// refuseType notes that a member is of another type than the tables say.
func (s *Sandbox) refuseType(call string, err error) apiAnswer {
	s.violate(call + ": " + err.Error())
	return badParam()
}

// violate notes a violation that concerns no purchase.
func (s *Sandbox) violate(text string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.note(Event{Kind: EventViolation, Text: text})
}
