//! What the language means, case by case.
