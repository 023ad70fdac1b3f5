package authz

import (
	"cmp"
	"math/big"
	"strconv"
	"strings"
)

// Limits of numbers we compare: the contract's token length, and an exponent whose power of ten stays small. Without
// the second, the nine bytes 1e9999999 would cost megabytes.
const (
	maxNumber   = 64
	maxExponent = 1000
)

// decimal is an exact decimal number: a small whole one, as nearly all are, or any other in big.
type decimal struct {
	small int64
	big   *big.Rat
}

// parseDecimal reads a JSON number exactly. It returns nil for one that is beyond the limits.
func parseDecimal(s string) *decimal {
	if len(s) > maxNumber {
		return nil
	}
	if n, err := strconv.ParseInt(s, 10, 64); err == nil {
		return &decimal{small: n}
	}
	if _, exponent, ok := strings.Cut(strings.ToLower(s), "e"); ok {
		if e, err := strconv.Atoi(exponent); err != nil || e > maxExponent || e < -maxExponent {
			return nil
		}
	}
	r, ok := new(big.Rat).SetString(s)
	if !ok {
		return nil
	}
	return &decimal{big: r}
}

func (d *decimal) cmp(other *decimal) int {
	if d.big == nil && other.big == nil {
		return cmp.Compare(d.small, other.small)
	}
	return d.rat().Cmp(other.rat())
}

func (d *decimal) rat() *big.Rat {
	if d.big != nil {
		return d.big
	}
	return new(big.Rat).SetInt64(d.small)
}

// plainDecimal reports whether s is -?digits[.digits] without a needless leading zero: the form a bound is written in.
func plainDecimal(s string) bool {
	whole, fraction, dot := strings.Cut(strings.TrimPrefix(s, "-"), ".")
	return digits(whole) && (whole == "0" || whole[0] != '0') && (!dot || digits(fraction))
}

func digits(s string) bool {
	for i := range len(s) {
		if s[i] < '0' || s[i] > '9' {
			return false
		}
	}
	return s != ""
}
