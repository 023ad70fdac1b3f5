package v1alpha1

import (
	"encoding/json/jsontext"
	"encoding/json/v2"
	"errors"
	"strings"
)

// Decimal is a decimal number kept as it was written, so that no bound passes through a float: a whole number (500), or
// any decimal in quotes ("0.25"). A fraction without quotes is refused, because the Kubernetes API server refuses it too.
//
// Fields of this type are Schemaless with XIntOrString: controller-gen would write "type: string" beside it, which the API
// server refuses.
type Decimal string

var errDecimal = errors.New(`must be a whole number, or a decimal number in quotes such as "0.25"`)

// UnmarshalJSON reads a JSON integer or a JSON string. Whether the string is a number is judged where the policy is
// compiled, together with everything else that may be wrong with it.
func (d *Decimal) UnmarshalJSON(b []byte) error {
	switch v := jsontext.Value(b); v.Kind() {
	case '"':
		return json.Unmarshal(b, (*string)(d))
	case '0':
		if strings.ContainsAny(string(b), ".eE") {
			return errDecimal
		}
		*d = Decimal(b)
		return nil
	}
	return errDecimal
}

// MarshalJSON writes the number as a JSON string, which is exact for every reader.
func (d Decimal) MarshalJSON() ([]byte, error) { return json.Marshal(string(d)) }
