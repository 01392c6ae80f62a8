package authority

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/seed-357fa782/licensed/license"
	"github.com/seed-357fa782/licensed/store"
)

// findValue reads a value that is kept as JSON: license.NotFound where there is none,
// license.Internal where it cannot be read.
func findValue[T any](ctx context.Context, tx store.Tx, name string) (v T, err error) {
	data, err := tx.Value(ctx, name)
	if err != nil {
		return v, fmt.Errorf("read %s: %w", printable(name), err)
	}
	return parseValue[T](store.Value{Name: name, Data: data})
}

// readValue is findValue, and the zero T where there is none.
func readValue[T any](ctx context.Context, tx store.Tx, name string) (v T, err error) {
	if v, err = findValue[T](ctx, tx, name); errors.Is(err, license.NotFound) {
		return v, nil
	}
	return v, err
}

// parseValue reads a value of a list.
func parseValue[T any](value store.Value) (v T, err error) {
	if err := json.Unmarshal(value.Data, &v); err != nil {
		return v, license.Errorf(license.Internal, "what is stored as %s cannot be read", printable(value.Name)).WithCause(err)
	}
	return v, nil
}

// writeValue keeps a value as JSON.
func writeValue(ctx context.Context, tx store.Tx, name string, v any) error {
	data, err := json.Marshal(v)
	if err == nil {
		err = tx.SetValue(ctx, name, data)
	}
	if err != nil {
		return fmt.Errorf("write %s: %w", printable(name), err)
	}
	return nil
}
