package boltstore

import (
	"bytes"
	"encoding/json"

	"github.com/seed-357fa782/licensed/license"
	"github.com/seed-357fa782/licensed/store"
)

func encode(v any) ([]byte, error) {
	raw, err := json.Marshal(v)
	if err != nil {
		return nil, license.Errorf(license.Internal, "a record cannot be written").WithCause(err)
	}
	return raw, nil
}

func decode(id bucketID, key, raw []byte, v any) error {
	if err := json.Unmarshal(raw, v); err != nil {
		return unreadable(id, key).WithCause(err)
	}
	return nil
}

func unreadable(id bucketID, key []byte) *license.Error {
	return license.Errorf(license.Internal, "the record %q in %s cannot be read", key, layout[id].name)
}

// answerMark separates the JSON of an install, which holds no line break, from
// the answer behind it. The answer must come back byte for byte, because
// signing it again has to give the same signature, and JSON inside JSON is
// compacted and escaped.
var answerMark = []byte{'\n'}

func encodeInstall(i license.Install) ([]byte, error) {
	answer := i.Answer
	i.Answer = nil
	raw, err := encode(store.UTCInstall(i))
	if err != nil || len(answer) == 0 {
		return raw, err
	}
	raw = append(raw, answerMark...)
	return append(raw, answer...), nil
}

func decodeInstall(key, raw []byte) (license.Install, error) {
	var i license.Install
	record, answer, has := bytes.Cut(raw, answerMark)
	if err := decode(bucketInstalls, key, record, &i); err != nil {
		return license.Install{}, err
	}
	if has {
		i.Answer = bytes.Clone(answer)
	}
	return i, nil
}
