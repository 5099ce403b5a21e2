// Student's t: what few samples tell about a mean.
#pragma once

#include <core/gate.hpp>

namespace handoff {

// The chance that t with so many degrees of freedom, more than 0, is above `t`.
double student_upper_tail(double t, double degrees);

// The t that is exceeded with a chance, below a half.
double student_quantile(double above, double degrees);

// The degrees of freedom of the difference between a's mean and so many times b's (Welch and Satterthwaite);
// infinite for rates. At least one of them has a variance.
double welch_freedom(measurement const& a, measurement const& b, double times = 1);

}  // namespace handoff
