export interface Question {
  title: string;
  text: string;
  /** What the button does, as a verb. */
  confirm: string;
}

/** Asks before something that cannot be undone. */
class Confirmation {
  question = $state.raw<Question | null>(null);
  #answer: ((yes: boolean) => void) | undefined;

  ask(question: Question): Promise<boolean> {
    this.answer(false);
    this.question = question;
    return new Promise((resolve) => {
      this.#answer = resolve;
    });
  }

  answer(yes: boolean) {
    this.#answer?.(yes);
    this.#answer = undefined;
    this.question = null;
  }
}

export const confirmation = new Confirmation();
