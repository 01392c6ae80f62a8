//go:build !linux && !darwin && !freebsd && !windows

package durable

import "errors"

func space(string) (free, total uint64, err error) { return 0, 0, errors.ErrUnsupported }
