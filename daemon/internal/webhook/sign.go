package webhook

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"log/slog"
	"strconv"
	"strings"
	"time"
)

// Headers of the Standard Webhooks specification, version 1.0.0.
const (
	headerID        = "webhook-id"
	headerTimestamp = "webhook-timestamp"
	headerSignature = "webhook-signature"
)

// Bounds of a secret's bytes, which are the specification's.
const (
	minSecret = 24
	maxSecret = 64
)

const secretPrefix = "whsec_"

// Secret is what an endpoint shares with the daemon. It does not print.
type Secret struct{ key *[]byte }

// ParseSecret reads "whsec_" and the base64 form of 24 to 64 bytes. Its errors
// hold nothing of the text.
func ParseSecret(text string) (Secret, error) {
	body, ok := strings.CutPrefix(strings.TrimSpace(text), secretPrefix)
	if !ok {
		return Secret{}, errors.New(`a webhook's secret begins with "whsec_"; licensectl webhook secret makes one`)
	}
	key, err := base64.StdEncoding.Strict().DecodeString(body)
	if err != nil {
		if key, err = base64.RawStdEncoding.Strict().DecodeString(body); err != nil {
			return Secret{}, errors.New(`behind "whsec_" a webhook's secret is base64, and this is not; licensectl webhook secret makes one`)
		}
	}
	if len(key) < minSecret || len(key) > maxSecret {
		return Secret{}, fmt.Errorf("a webhook's secret has %d to %d bytes, and this one has %d; licensectl webhook secret makes one", minSecret, maxSecret, len(key))
	}
	return Secret{&key}, nil
}

const redacted = "[redacted]"

// String, GoString, LogValue and MarshalText do not show the secret.
func (Secret) String() string { return redacted }

// GoString does not show the secret.
func (Secret) GoString() string { return redacted }

// LogValue does not show the secret.
func (Secret) LogValue() slog.Value { return slog.StringValue(redacted) }

// MarshalText does not show the secret.
func (Secret) MarshalText() ([]byte, error) { return []byte(redacted), nil }

// signature is one entry of the signature header: HMAC-SHA256 of the id, the
// timestamp and the body, with full stops in between.
func (s Secret) signature(id string, at time.Time, body []byte) string {
	mac := hmac.New(sha256.New, *s.key)
	_, _ = fmt.Fprintf(mac, "%s.%d.", id, at.Unix())
	_, _ = mac.Write(body) // a hash does not fail
	return "v1," + base64.StdEncoding.EncodeToString(mac.Sum(nil))
}

// signatures is the signature header: one for each secret, so that a receiver
// which knows one of them is served while another takes its place.
func signatures(secrets []Secret, id string, at time.Time, body []byte) string {
	list := make([]string, 0, len(secrets))
	for _, s := range secrets {
		list = append(list, s.signature(id, at, body))
	}
	return strings.Join(list, " ")
}

func timestamp(at time.Time) string { return strconv.FormatInt(at.Unix(), 10) }
